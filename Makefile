# The commands of this project. `make demo` and `make test` need Debian 12 and Rust; they install the rest.
.PHONY: help demo test build check deny packages

help:
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

packages: ## install the Debian packages that build, fonts and tests need
	@tools/install-packages

demo: packages ## run a complete sandbox here; nothing is dialled
	cargo build --quiet --bin faxwell
	@exec $${CARGO_TARGET_DIR:-target}/debug/faxwell demo $(ARGS)

test: packages ## run every test
	cargo test --workspace --no-fail-fast

build: packages ## make target/release/faxwell
	cargo build --release --bin faxwell

check: packages ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deny: ## licences, banned crates, sources (needs cargo-deny)
	cargo deny check bans licenses sources

# The commands of this project. `make demo` and `make test` need Debian 12 and Rust; they install the rest.
.PHONY: help demo test build check deny packages bench-lines bench-intake chaos-local chaos-negative

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

packages: ## install the Debian packages that build, fonts and tests need
	@tools/install-packages

demo: packages ## run a complete sandbox here; nothing is dialled
	cargo build --quiet --bin faxwell
	@exec $${CARGO_TARGET_DIR:-target}/debug/faxwell demo $(ARGS)

test: packages ## run every test
	cargo test --workspace --no-fail-fast

build: packages ## make target/release/faxwell
	cargo build --release --bin faxwell
	@! grep -q FAXWELL_CRASH_AT $${CARGO_TARGET_DIR:-target}/release/faxwell # crash points are for debug builds

check: packages ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

chaos-local: packages ## hundreds of faxes under a storm of faults, judged from outside (SEED=n; disk-full as root)
	@cargo test --quiet --test it --no-run
	@CHAOS_SEED=$(SEED) cargo test --quiet --test it chaos::local -- --ignored || exit 1

chaos-negative: packages ## the same judge finds what a switched-off guarantee breaks
	cargo test --test it chaos::negative

deny: ## licences, banned crates, sources (needs cargo-deny)
	cargo deny check bans licenses sources

bench-lines: packages ## calls at once in one process, in real time: ceiling, processor time, punctuality (ARGS="t38 50 100")
	@tests/perf/bench-lines $(ARGS)

bench-intake: packages build ## durable accepts a second beside Postfix, and mail to INVITE (root)
	@tests/perf/bench-intake.py --binary $${CARGO_TARGET_DIR:-target}/release/faxwell $(ARGS)

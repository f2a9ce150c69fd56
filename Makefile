# The commands of this project. `make demo` and `make test` need Debian 12 and Rust; they install the rest.
.PHONY: help demo test build check deny packages bench-lines bench-intake chaos chaos-seeds chaos-local chaos-negative install packaging-check bench-store simulate-day fuzz outlook-check interop-smtp bench-render bench-legibility robust-render bench-wire

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

# Below DESTDIR; `make build` comes first. Then: systemd-sysusers, systemd-tmpfiles --create, systemctl daemon-reload.
BINARY ?= $${CARGO_TARGET_DIR:-target}/release/faxwell
UNITS = $(DESTDIR)/usr/lib/systemd/system
install: ## install program, units and examples (DESTDIR=, BINARY=)
	install -D -m 755 $(BINARY) $(DESTDIR)/usr/bin/faxwell
	install -D -m 644 -t $(UNITS) packaging/systemd/faxwell.service packaging/systemd/faxwell@.service packaging/systemd/faxwell.target
	for unit in faxwell.service faxwell@.service; do \
	    install -D -m 644 -t $(UNITS)/$$unit.d packaging/systemd/10-hardening.conf || exit 1; done
	for unit in faxwell.service faxwell@smtp.service faxwell@web.service; do \
	    install -D -m 644 -t $(UNITS)/$$unit.d packaging/systemd/20-ports.conf || exit 1; done
	install -D -m 644 packaging/systemd/faxwell.sysusers $(DESTDIR)/usr/lib/sysusers.d/faxwell.conf
	install -D -m 644 packaging/systemd/faxwell.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/faxwell.conf
	install -d -m 750 $(DESTDIR)/etc/faxwell
	for file in packaging/systemd/roles/*.env; do to=$(DESTDIR)/etc/faxwell/roles/$${file##*/}; \
	    test -e $$to || install -D -m 644 $$file $$to || exit 1; done
	install -D -m 644 -t $(DESTDIR)/usr/share/doc/faxwell/examples config/*.toml packaging/haproxy/* packaging/patroni/* \
	    packaging/systemd/credentials.conf.example

packaging-check: packages ## every shipped example, checked by the program that reads it (root)
	cargo build --quiet --bin faxwell
	@tests/packaging/check

check: packages ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

chaos-local: packages ## hundreds of faxes under a storm of faults, judged from outside (SEED=n; disk-full as root)
	@cargo test --quiet --test it --no-run
	@CHAOS_SEED=$(SEED) cargo test --quiet --test it chaos::local -- --ignored || exit 1

chaos: packages ## two gateways, three databases, HAProxy and S3 under a storm of faults, in network namespaces (SEED=n FAULTS="drain …"; root)
	@cargo test --quiet --test it --no-run
	@CHAOS_PROGRAMS=$$(tools/install-chaos) CHAOS_SEED=$(SEED) CHAOS_FAULTS="$(FAULTS)" \
		cargo test --quiet --test it chaos::cluster -- --ignored --nocapture || exit 1

chaos-seeds: ## the same for three seeds, one after the other, and what each came to (SEEDS="1 2 3")
	@results=$$(mktemp); \
	for seed in $(or $(SEEDS),1 2 3); do CHAOS_RESULTS=$$results $(MAKE) --no-print-directory chaos SEED=$$seed || failed=1; done; \
	cat $$results; rm $$results; exit $${failed:-0}

chaos-negative: packages ## the same judge finds what a switched-off guarantee breaks
	cargo test --test it chaos::negative

deny: ## licences, banned crates, sources (needs cargo-deny)
	cargo deny check bans licenses sources

bench-lines: packages ## calls at once in one process, in real time: ceiling, processor time, punctuality (ARGS="t38 50 100")
	@tests/perf/bench-lines $(ARGS)

bench-intake: packages build ## durable accepts a second beside Postfix, and mail to INVITE (root)
	@tests/perf/bench-intake.py --binary $${CARGO_TARGET_DIR:-target}/release/faxwell $(ARGS)

bench-store: packages ## durable transitions beside the bare commit rate of the same database (ARGS="postgres --depths 1000")
	@tests/perf/bench-store $(ARGS)

# The converter alone: the crates that it needs, optimised.
WORKER = $${CARGO_TARGET_DIR:-target}/release/pages-worker
bench-render: ## what a page costs beside Ghostscript: processor time, memory, octets (ARGS="--documents FOLDER")
	@tools/install-packages ghostscript libjpeg-turbo-progs mupdf-tools
	cargo build --release -p pages --bin pages-worker
	@tests/perf/bench-render.py --worker $(WORKER) $(ARGS)

bench-legibility: ## how much of a text tesseract reads from our pages and from Ghostscript's (ARGS="--keep FOLDER")
	@tools/install-packages ghostscript libjpeg-turbo-progs tesseract-ocr
	cargo build --release -p pages --bin pages-worker
	@tests/perf/bench-legibility.py --worker $(WORKER) $(ARGS)

bench-wire: ## octets of a page in each coding and its seconds on the line, beside Ghostscript (ARGS="--documents FOLDER")
	@tools/install-packages ghostscript libjpeg-turbo-progs
	cargo build --release -p pages --bin pages-worker
	cargo build --release -p fax-image --example coded
	@tests/perf/bench-wire.py --worker $(WORKER) --coded $$(dirname $(WORKER))/examples/coded $(ARGS)

robust-render: ## every file of a folder in a converter of its own: rendered, refused, crashed, timed out (DIR=folder)
	cargo build --release -p pages --bin pages-worker
	@tests/perf/robust-render.py --worker $(WORKER) $(DIR)

simulate-day: ## a day of a million faxes on paper: queues, channels, store, losses (ARGS="--faxes 3M --lose primary")
	@tests/perf/simulate-day $(ARGS)

fuzz: ## feed a parser with what its coverage suggests; inputs that matter are kept (TARGET=codec SECONDS=600; targets: codec tiff converter tnef msg)
	@fuzz/run $(or $(TARGET),tnef) $(or $(SECONDS),60)

outlook-check: ## TNEF and .msg samples beside tnefparse and extract-msg (SAMPLES="folder …")
	@cargo build --quiet -p outlook --example unpack
	@crates/outlook/tests/oracle $(SAMPLES)

interop-smtp: packages ## real mail servers and clients against the gateway; each mail becomes a fax (ARGS="--only postfix --keep"; root)
	cargo build --quiet --bin faxwell
	@senders=$$(tools/install-smtp-senders) && \
		tests/interop/smtp/run --binary $${CARGO_TARGET_DIR:-target}/debug/faxwell --senders "$$senders" $(ARGS)

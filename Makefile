# What people and CI run. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-postgres faults bench hot journal-bench purge console-bench fuzz lint audit fmt book deb check-deb dist interop-thunderbird

# A recipe's own progress is worth more than its commands.
.SILENT:

CARGO ?= cargo
# make demo ONCE=1 ends by itself: 0 when all that it promises held.
ONCE ?=
# make test TESTS=mailer runs the tests whose names hold that word.
TESTS ?=
# make fuzz SECONDS_EACH=600 looks for longer, and make bench JSON=1 prints figures for programs.
SECONDS_EACH ?= 60
# The tests wait for programs more than they compute, so more of them run at once than there are cores.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
JSON ?=
PARTS ?=

TOOLS := $(CURDIR)/.tools
lint audit book deb check-deb dist: export PATH := $(TOOLS)/cargo/bin:$(TOOLS)/python/bin:$(PATH)

## help: this list
help:
	sed -n 's/^## //p' $(MAKEFILE_LIST)

## setup: install the Debian packages and lint tools that are missing
setup:
	scripts/setup build demo test lint
	scripts/interop-tools
	scripts/fault-tools
	scripts/bagit-tool
	scripts/browser-tools
	scripts/oidc-tools
	scripts/lint-tools

## demo: show a real submission from queue to deletion, on a private broker (ONCE=1: end by itself)
demo:
	scripts/setup demo
	echo 'demo: building (the first time takes some minutes)'
	$(CARGO) build --locked --package kvit-cli --bin kvit
	$(CARGO) run --quiet --locked --package kvit-cli --bin kvit -- demo $(if $(ONCE),--once)

## test: every test: units, and end to end on a private RabbitMQ and a real SMTP peer (TESTS=word: only those)
test:
	scripts/setup test
	scripts/interop-tools
	scripts/fault-tools
	scripts/bagit-tool
	scripts/browser-tools
	scripts/oidc-tools
	echo 'test: building the programs that the tests start, stop and kill, and the tests'
	$(CARGO) build --workspace --locked --bins --tests
	echo 'test: running the tests'
	$(CARGO) test --workspace --locked --no-fail-fast -- $(TESTS)
	echo 'test: mails and versions once more, on PostgreSQL'
	KVIT_TEST_STORE=postgres $(CARGO) test --workspace --locked --no-fail-fast --test e2e -- $(or $(TESTS),mails versions)

## test-postgres: every end-to-end test once more, on PostgreSQL (test itself has the part about mails and versions)
test-postgres:
	scripts/setup test
	$(CARGO) build --workspace --locked --bins --tests
	KVIT_TEST_STORE=postgres $(CARGO) test --workspace --locked --no-fail-fast --test e2e -- $(TESTS)

## faults: the fault suite in full, and the mutants that it must notice (an hour or more; test runs it scaled down)
faults:
	scripts/setup test
	scripts/fault-tools
	$(CARGO) build --workspace --locked --bins --tests
	KVIT_FAULTS=full $(CARGO) test --workspace --locked --no-fail-fast --test faults -- --nocapture --test-threads=1 $(TESTS)
	scripts/mutants

## bench: what Kvit costs, in release, against its bars (JSON=1: for programs; PARTS="drain latency": only those)
bench:
	scripts/setup bench
	$(CARGO) build --release --workspace --locked --bins
	$(CARGO) bench --quiet --workspace --locked --bench kvit-bench -- $(if $(JSON),--json) $(PARTS)

## hot: instructions of the hot functions, in release, against the committed baseline (KVIT_BLESS=1: write a new one)
hot:
	scripts/setup bench
	CARGO_PROFILE_BENCH_LTO=off $(CARGO) bench --quiet --workspace --locked --bench kvit-hot

## journal-bench: the journal's promises at their size: 1,000 entries after a day away, a party among 100,000 in 100 ms
journal-bench:
	scripts/setup test
	$(CARGO) build --workspace --locked --bins --tests
	KVIT_JOURNAL_SUBMISSIONS=1000 $(CARGO) test --workspace --locked --test e2e -- --nocapture a_target_that_is_away
	KVIT_JOURNAL_ENTRIES=100000 $(CARGO) test --workspace --locked --test e2e -- --nocapture a_large_journal

## purge: the purge's promise at its size: 100,000 registrations in a minute beside 50 submissions a second, in release
purge:
	scripts/setup test
	$(CARGO) build --release --workspace --locked --bins --tests
	KVIT_PURGE_REGISTRATIONS=100000 $(CARGO) test --release --workspace --locked --test e2e -- --nocapture many_registrations

## console-bench: the console's promise at its size: every page with 100,000 submissions in the ledger, and a drain that 20 browsers look at, in release
console-bench:
	scripts/setup test
	$(CARGO) build --release --workspace --locked --bins --tests
	KVIT_CONSOLE_SUBMISSIONS=100000 KVIT_CONSOLE_DRAIN=3000 $(CARGO) test --release --workspace --locked --test e2e -- --nocapture --test-threads=1 every_page_is_quick twenty_browsers

## fuzz: every fuzz target for a minute, all at once (SECONDS_EACH=600: for ten)
fuzz:
	scripts/setup test
	$(CARGO) test --workspace --locked --test properties --no-run
	KVIT_FUZZ_SECONDS=$(SECONDS_EACH) $(CARGO) test --workspace --locked --test properties -- --test-threads 16

## interop-thunderbird: open a department's mail in Thunderbird's window (installs it; target/thunderbird/window.png)
interop-thunderbird:
	scripts/setup test thunderbird
	$(CARGO) test --workspace --locked --test interop -- --ignored --nocapture thunderbird

## lint: format, clippy, documentation, licences and sources of dependencies, spelling, YAML, image and shell files
lint:
	scripts/setup lint
	scripts/lint-tools
	step() { echo "lint: $$1"; shift; "$$@"; }
	step 'format' $(CARGO) fmt --all --check
	step 'spelling' typos
	step 'compose file' check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	step 'image file' hadolint deploy/docker/Dockerfile
	step 'shell' shellcheck .ci/run scripts/check-deb scripts/check-units scripts/fault-tools scripts/mutants scripts/setup scripts/lint-tools scripts/interop-tools scripts/bagit-tool scripts/browser-tools scripts/oidc-tools scripts/package-tools \
	    deploy/docker/ready deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm
	step 'alert rules' promtool check rules deploy/prometheus/kvit.rules.yml
	step 'tests of the alert rules' promtool test rules deploy/prometheus/kvit.rules.test.yml
	step 'units' scripts/check-units
	step 'book' mdbook build docs
	step 'links' scripts/check-links target/book *.md deploy/rabbitmq/README.md
	step 'dependencies' $(CARGO) deny --log-level error check bans licenses sources
	step 'clippy' $(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	step 'documentation' env RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --workspace --no-deps --locked

## book: the documentation as a web site, in target/book
book:
	scripts/lint-tools
	mdbook build docs
	scripts/check-links target/book *.md

## deb: a Debian package with every program and its units, in target/debian
deb:
	scripts/setup build
	scripts/package-tools
	echo 'deb: building in release'
	$(CARGO) build --release --locked --workspace --bins
	rm -rf target/dist
	target/release/kvit generate target/dist
	$(CARGO) cyclonedx --manifest-path services/cli/Cargo.toml --format json --spec-version 1.5 --override-filename kvit.cdx
	# Crates of this workspace have no address that anybody could ask, and where it was built is nobody's business.
	sed -e 's|path+file://$(CURDIR)/||g' -e 's|?download_url=file://[^"#]*||g' services/cli/kvit.cdx.json >target/dist/kvit.cdx.json
	find services shared tests -name kvit.cdx.json -delete
	# Debian's form: a line of a text begins with a blank, and an empty one is a full stop.
	{ cat deploy/debian/copyright && sed -e 's/^[[:space:]]*$$/./' -e 's/^/ /' LICENSE; } >target/dist/copyright
	# Debug symbols stay in target/release; the system's xz is quicker than cargo-deb's.
	XZ_DEFAULTS=-T0 $(CARGO) deb --package kvit-cli --no-build --locked --strip --compress-system

## check-deb: the package on a Debian 12 of its own, under systemd: installed, at work, upgraded, removed (as root)
check-deb: deb
	scripts/setup package
	scripts/check-deb

## dist: the package, its SBOM (CycloneDX), manual pages and completions, in target/dist
dist: deb
	cp target/debian/kvit_*.deb target/dist/
	ls target/dist

## audit: known vulnerabilities in dependencies (fetches the advisory database, so it needs the internet)
audit:
	scripts/lint-tools
	$(CARGO) deny check advisories

## fmt: format the code
fmt:
	$(CARGO) fmt --all

# Each recipe is plain commands that can be run by hand. ARGS goes to `sidetone run`.

# What has properties to be tried on random input.
FUZZED := properties transactions legs load toml hunt offers shard

TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: run build lint test simulate fuzz test-clients test-tools docs bench clean

## Installs what the build needs, builds, and starts on this machine: make run ARGS="--listen 192.0.2.1"
run: build
	exec $(TARGET)/release/sidetone run $(ARGS)

build:
	tests/install.sh build
	cargo build --release --package sidetone

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

## Everything CI runs: lints, Rust tests, and one combined call per real client.
test: test-tools
	$(MAKE) --no-print-directory lint
	cargo test --workspace
	cargo build --package sidetone
	tests/clients/lib/namespace.sh node tests/clients/run.mjs --binary $(TARGET)/debug/sidetone

## Every client, library, transport and number against the release binary.
test-clients: test-tools
	cargo build --release --package sidetone
	tests/clients/lib/namespace.sh node tests/clients/run.mjs --binary $(TARGET)/release/sidetone --full

## Thousands of random calls on virtual time; SIDETONE_SEED=N repeats one.
simulate:
	SIDETONE_SEEDS=$(or $(SEEDS),5000) cargo test --package sidetone --test calls chance

## Random messages, descriptions, plans and orders of events, many more than `make test` tries.
fuzz:
	PROPTEST_CASES=$(or $(CASES),20000) cargo test --profile fuzz --workspace $(addprefix --test ,$(FUZZED)) --lib

test-tools:
	tests/install.sh test
	$(MAKE) --no-print-directory tests/clients/node_modules/.package-lock.json

tests/clients/node_modules/.package-lock.json: tests/clients/package-lock.json
	npm ci --prefix tests/clients --no-audit --no-fund

## Writes the documents that are generated: docs/CONFORMANCE.md from the names of the tests.
docs:
	SIDETONE_WRITE_DOCS=1 cargo test --package sidetone --test structure

## Server CPU per packet as a multiple of bare sockets, measured in the same run; set-ups and registrations.
bench:
	tests/install.sh build
	cargo build --release --package sidetone --package benches
	$(TARGET)/release/bench all

clean:
	cargo clean
	rm -rf crates/sidetone/web/dist crates/sidetone/web/node_modules tests/clients/node_modules

# Everything that a person or CI runs. `make` alone lists it.
#
# There is one build profile, release: what is tested is what runs, and nothing is compiled twice.

CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR
# Where rustup puts cargo when the shell does not know yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)

PROGRAM := $(CARGO_TARGET_DIR)/release/dialtone

.PHONY: help run build test test-long fuzz bench lint

help:
	@echo 'make run        build, and run the sample site on this machine'
	@echo 'make build      build $(PROGRAM)'
	@echo 'make test       every test, with real SIP clients, and lint'
	@echo 'make test-long  what takes longer than CI should: many cases, overload, fuzzing'
	@echo 'make fuzz       each fuzz target for a minute; scripts/fuzz knows more'
	@echo 'make bench      benchmarks'
	@echo 'make lint       clippy, formatting, documentation'

run: build
	@exec $(PROGRAM) serve --config conf/dialtone.toml

build:
	@scripts/need build
	cargo build --release --locked

test:
	@scripts/need build test fuzz
	@scripts/test

test-long:
	@scripts/need build test fuzz
	@scripts/test-long

fuzz:
	@scripts/need build fuzz
	@scripts/fuzz 60

bench:
	@scripts/need build
	cargo bench --workspace --profile release

lint:
	@scripts/need build
	cargo clippy --release --workspace --all-targets -- -D warnings
	cargo fmt --all --check
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc --release --workspace --no-deps --document-private-items

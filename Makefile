# Two commands do it all on a fresh Debian 12: `make demo` and `make check`. Each installs what it needs and is not
# there (as root; otherwise it says what to install).

.DEFAULT_GOAL := help
.PHONY: help demo check equal-bits test lint deny bench doc release install clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## Build kiln, then build and boot a kernel with it, twice
	@scripts/demo.sh

check: ## All checks and tests, one real kernel included: what CI runs
	@scripts/setup.sh check
	@scripts/lint.sh
	@scripts/source.sh
	@scripts/test.sh
	@scripts/test.sh walk
	@scripts/test.sh real

equal-bits: ## One real kernel, built under another user, host, path, cache and number of jobs: the same to the bit
	@scripts/setup.sh check
	@scripts/source.sh
	@scripts/test.sh bits

test: ## The tests, without the real kernel
	@scripts/setup.sh build
	@scripts/test.sh

lint: ## Format, clippy, documentation, shell scripts, licenses
	@scripts/lint.sh

deny: ## Check the dependencies' licenses and sources (compiles cargo-deny first)
	@command -v cargo-deny >/dev/null || cargo install cargo-deny --locked
	@cargo deny --locked check bans licenses sources

bench: ## How fast kiln is, against the least that any tool must do, make alone, and ninja
	@scripts/setup.sh bench
	@scripts/source.sh
	@KILN_BENCH_TREE=$(CURDIR)/cache/sources/linux-6.1 cargo bench --locked

doc: ## The crate's own documentation, private items included
	@cargo doc --locked --no-deps --document-private-items

release: ## target/release/kiln
	@scripts/setup.sh build
	@cargo build --release --locked

install: ## Put kiln where cargo installs programs
	@scripts/setup.sh build
	@cargo install --path . --locked

clean: ## Remove what cargo built; kiln's own cache and out/ are `kiln clean`'s
	@cargo clean

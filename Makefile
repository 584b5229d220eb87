# On a fresh Debian 12 or 13, start with `make demo` and `make check`. Each target installs the packages that it needs (as root; an
# ordinary user gets the command printed).

.DEFAULT_GOAL := help
.PHONY: help demo check check-remote check-lab check-stage3 check-stage3-arm64-kernel check-reports check-fresh matrix check-long test lint deny bench bench-roots stable-update doc release install clean

help: ## This list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 28

demo: ## Build kiln, then build and boot a kernel with it, twice
	@scripts/demo.sh

check: ## All checks and tests, with real kernels: what CI runs
	@scripts/setup.sh check
	@scripts/lint.sh
	@scripts/source.sh
	@scripts/test.sh
	@scripts/check-stage3.sh amd64
	@scripts/test.sh walk
	@scripts/test.sh real

check-remote: ## Remotes against real servers and their faults: nginx, PostgreSQL and BuildGrid (minutes)
	@scripts/setup.sh demo
	@scripts/source.sh
	@scripts/check-remote.sh

check-lab: ## Labs against a real LAVA on this machine, which boots the demo's kernel (as root; minutes)
	@scripts/setup.sh demo
	@scripts/source.sh
	@scripts/check-lab.sh

check-stage3: ## Stage3 roots from a mirror made here: amd64 with a real kernel, arm64 under qemu-user (as root)
	@scripts/setup.sh demo
	@scripts/source.sh
	@scripts/check-stage3.sh

check-stage3-arm64-kernel: ## An arm64 kernel by the arm64 root's own compiler, under qemu-user (as root; half an hour)
	@scripts/setup.sh demo
	@scripts/source.sh
	@scripts/check-stage3.sh arm64-kernel

check-reports: ## KCIDB submissions against KCIDB's own checks (kcidb-io from PyPI)
	@scripts/setup.sh build
	@scripts/check-reports.sh

check-fresh: ## `make demo` and `make check` on a bare Debian 12 and a bare Debian 13 (as root; hours)
	@scripts/check-fresh.sh

matrix: ## All rows of examples/tiny: twelve arches built, matched and booted (half an hour)
	@scripts/setup.sh matrix
	@scripts/source.sh
	@scripts/test.sh matrix

check-long: ## Real kernels built in several ways and with every optional tool; a random walk on a real tree
	@scripts/setup.sh long
	@scripts/source.sh
	@scripts/test.sh long

test: ## The tests, without real kernels
	@scripts/setup.sh build
	@scripts/test.sh

lint: ## Format, clippy, documentation, shell scripts, licenses
	@scripts/lint.sh

deny: ## Check the dependencies' licenses and sources (compiles cargo-deny first)
	@command -v cargo-deny >/dev/null || cargo install cargo-deny --locked
	@cargo deny --locked check bans licenses sources

bench: ## Benchmarks against make, ninja, git and a bare walk of the tree
	@scripts/setup.sh bench
	@scripts/source.sh
	@KILN_BENCH_TREE=$(CURDIR)/cache/sources/linux-6.1 cargo bench --locked

bench-roots: ## Benchmarks of roots: time to ready, preparation, modes under qemu-user (as root)
	@scripts/setup.sh stage3
	@scripts/source.sh
	@scripts/bench-roots.sh

stable-update: ## One update of a stable kernel, file by file: which builds each file affects (hours)
	@scripts/setup.sh bench
	@scripts/stable-update.sh

doc: ## The crate's own documentation, private items included
	@cargo doc --locked --no-deps --document-private-items

release: ## target/release/kiln
	@scripts/setup.sh build
	@cargo build --release --locked

install: ## Put kiln where cargo installs programs
	@scripts/setup.sh build
	@cargo install --path . --locked

clean: ## Remove cargo's files (kiln's cache and out/: `kiln clean`)
	@cargo clean

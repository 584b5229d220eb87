# Two commands do it all on a fresh Debian 12 or 13: `make demo` and `make check`. Each installs what it needs and is not
# there (as root; otherwise it says what to install).

.DEFAULT_GOAL := help
.PHONY: help demo check check-remote check-lab check-stage3 check-stage3-arm64-kernel check-reports check-fresh matrix check-long test lint deny bench bench-roots stable-update doc release install clean

help: ## This list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 28

demo: ## Build kiln, then build and boot a kernel with it, twice
	@scripts/demo.sh

check: ## All checks and tests, one real kernel included: what CI runs
	@scripts/setup.sh check
	@scripts/lint.sh
	@scripts/source.sh
	@scripts/test.sh
	@scripts/check-stage3.sh amd64
	@scripts/test.sh walk
	@scripts/test.sh real

check-remote: ## kiln with real servers, all faults included: nginx, PostgreSQL and BuildGrid (minutes)
	@scripts/setup.sh demo
	@scripts/source.sh
	@scripts/check-remote.sh

check-lab: ## kiln with a real LAVA, brought up on this machine, that boots the demo's kernel (as root; minutes)
	@scripts/setup.sh demo
	@scripts/source.sh
	@scripts/check-lab.sh

check-stage3: ## Roots of stage3s, from a mirror that is made here: amd64 with a real kernel, arm64 under qemu-user (as root)
	@scripts/setup.sh demo
	@scripts/source.sh
	@scripts/check-stage3.sh

check-stage3-arm64-kernel: ## A whole arm64 kernel by the arm64 root's own compiler, under qemu-user (as root; half an hour)
	@scripts/setup.sh demo
	@scripts/source.sh
	@scripts/check-stage3.sh arm64-kernel

check-reports: ## What kiln tells KCIDB, held to KCIDB's own checks: kcidb-io from PyPI
	@scripts/setup.sh build
	@scripts/check-reports.sh

check-fresh: ## `make demo` and `make check` on a bare Debian 12 and a bare Debian 13 (as root; hours)
	@scripts/check-fresh.sh

matrix: ## All rows of examples/tiny, for real: twelve arches built, matched and booted (half an hour)
	@scripts/setup.sh matrix
	@scripts/source.sh
	@scripts/test.sh matrix

check-long: ## A real kernel built in many ways, the same to the bit; a walk through states of a real tree
	@scripts/setup.sh check
	@scripts/source.sh
	@scripts/test.sh long

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

bench-roots: ## What roots cost: ready in milliseconds, prepared as by a shell script, modes under qemu-user (as root)
	@scripts/setup.sh stage3
	@scripts/source.sh
	@scripts/bench-roots.sh

stable-update: ## One update of a stable kernel, file by file: what it makes kiln build (hours)
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

clean: ## Remove what cargo built; kiln's own cache and out/ are `kiln clean`'s
	@cargo clean

#!/usr/bin/env bash
#
# Runs the tests: those of the crate; with `walk`, the random walk alone, as far as it has to go; with `real`, those that
# build and boot a real kernel; with `matrix`, those that build and boot all rows of the matrix; with `remote`, the one by
# way of a remote; with `long`, those that build it in many ways, and over and over.
#
# With cargo-nextest where it is installed, else with cargo's own runner.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
install_rust

if cargo nextest --version >/dev/null 2>&1; then
    run=(cargo nextest run --locked)
    ignored=(--run-ignored only --no-capture --)
    # Two at a time: while one configures or boots, another compiles.
    together=(--run-ignored only --success-output immediate --)
    shown=(--success-output immediate --)
else
    run=(cargo test --locked)
    ignored=(-- --ignored --nocapture)
    together=("${ignored[@]}")
    shown=(-- --nocapture)
fi

# Tests are chosen by their binary and the modules that they are in.
case ${1-} in
'') "${run[@]}" ;;
walk) KILN_WALK_STEPS=2000 "${run[@]}" --test e2e "${shown[@]}" tree_walk:: ;;
real) "${run[@]}" --test real "${together[@]}" kernel:: kconfig:: rows:: ;;
matrix) KILN_TEST_ROWS=all "${run[@]}" --test real "${ignored[@]}" rows:: kbuild_cover:: ;;
remote) "${run[@]}" --test real "${ignored[@]}" remote:: ;;
long) "${run[@]}" --test real --test e2e "${ignored[@]}" equal_bits:: walk:: host_reads:: ;;
*) die "usage: ${BASH_SOURCE[0]} [walk|real|matrix|remote|long]" ;;
esac

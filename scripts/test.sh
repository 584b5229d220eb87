#!/usr/bin/env bash
#
# Runs tests, with cargo-nextest if it is installed, else with cargo's own runner.
#
#     scripts/test.sh           all tests that are not ignored
#     scripts/test.sh walk      the random walk over the fake kernel tree, 2,000 steps
#     scripts/test.sh real      real kernels: built, booted, and two rows of the matrix
#     scripts/test.sh matrix    all rows of the matrix, built and booted; kbuild's records against traces
#     scripts/test.sh remote    a real kernel by way of a remote
#     scripts/test.sh long      real kernels built in several ways and with every optional tool; a walk on a real tree

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
install_rust

if cargo nextest --version >/dev/null 2>&1; then
    run=(cargo nextest run --locked)
    ignored=(--run-ignored only --no-capture --)
    # Two tests at a time: while one configures or boots, the other compiles.
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
long) "${run[@]}" --test real --test e2e "${ignored[@]}" equal_bits:: tools:: walk:: host_reads:: ;;
*) die "usage: ${BASH_SOURCE[0]} [walk|real|matrix|remote|long]" ;;
esac

#!/usr/bin/env bash
#
# Runs the tests: those of the crate, or, with `real`, those that build and boot a real kernel.
#
# With cargo-nextest where it is installed, else with cargo's own runner.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
install_rust

if cargo nextest --version >/dev/null 2>&1; then
    run=(cargo nextest run --locked)
    ignored=(--run-ignored only --no-capture)
else
    run=(cargo test --locked)
    ignored=(-- --ignored --nocapture)
fi

case ${1-} in
'') "${run[@]}" ;;
real) "${run[@]}" --test real_kernel --test real_kconfig --test equal_bits "${ignored[@]}" ;;
*) die "usage: ${BASH_SOURCE[0]} [real]" ;;
esac

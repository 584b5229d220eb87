#!/usr/bin/env bash
#
# Format, lints, documentation, shell scripts, licenses. A check whose tool is not installed is skipped and says so. The crate is
# also checked without default features, and with its fuzz targets.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
install_rust

say "format"
cargo fmt --all --check
say "clippy"
cargo clippy --locked --all-targets -- -D warnings
say "clippy, without default features"
cargo clippy --locked --no-default-features -- -D warnings
say "clippy, fuzz targets"
cargo clippy --locked --package kiln-fuzz --no-default-features -- -D warnings
say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet

if command -v shellcheck >/dev/null; then
    say "shellcheck"
    shellcheck -x -P SCRIPTDIR scripts/*.sh tests/servers/stage3/*.sh .ci/run
else
    say "shellcheck: skipped, as it is not installed (apt-get install shellcheck)"
fi

if command -v cargo-deny >/dev/null; then
    say "cargo deny"
    cargo deny --locked check bans licenses sources
else
    say "cargo deny: skipped, as it is not installed and takes minutes to compile (make deny does both)"
fi

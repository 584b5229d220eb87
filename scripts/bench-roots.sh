#!/usr/bin/env bash
#
# What roots cost, against a shell script and a cross compiler: benches/roots.rs, with the mirrors that
# scripts/stage3-mirror.sh makes. As root.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

((EUID == 0)) || die "a mirror with a stage3 can be made by root alone"
install_rust
for arch in amd64 arm64; do
    scripts/stage3-mirror.sh "$arch" "$ROOT/target/stage3"
done
export KILN_TEST_STAGE3=$ROOT/target/stage3
cargo bench --locked --bench roots

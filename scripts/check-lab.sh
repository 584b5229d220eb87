#!/usr/bin/env bash
#
# Runs the tests of labs against a real LAVA, which it brings up on this machine, on loopback only, and takes down again
# (scripts/lava.sh). As root: LAVA's packages are installed, and its worker runs QEMU as root.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
install_rust
# Any of nginx's flavours will do.
install_services curl e2fsprogs=mkfs.ext4 git nginx-light=nginx openssl rsync squashfs-tools=mksquashfs util-linux=unshare zstd

# Stage3s that a board of the lab boots.
mirror=$ROOT/target/stage3
for init in openrc systemd; do KILN_STAGE3_INIT=$init scripts/stage3-mirror.sh amd64 "$mirror"; done
export KILN_TEST_STAGE3=$mirror

lab=$ROOT/target/lab
mkdir -p "$lab"
trap 'scripts/lava.sh down' EXIT
scripts/lava.sh up "$lab/lab.env"
export KILN_TEST_LAVA=$lab/lab.env

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --test servers --run-ignored all --test-threads 1 --no-fail-fast -- lava_client:: labs::
else
    cargo test --locked --test servers --no-fail-fast -- --include-ignored --test-threads 1 lava_client:: labs::
fi

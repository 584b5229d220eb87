#!/usr/bin/env bash
#
# Runs the tests of roots: stage3s from a mirror that is made here (scripts/stage3-mirror.sh) and that nginx serves on loopback.
# As root: the mirror's stage3s have owners and devices.
#
#     check-stage3.sh                 a root for this machine, with a real kernel; one for arm64, with a part of one
#     check-stage3.sh amd64           what needs neither qemu-user nor a real kernel: part of CI; skipped where it is not root's
#     check-stage3.sh arm64-kernel    a whole kernel in the arm64 root, under qemu-user

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# Tests are chosen by the modules that they are in.
case ${1-} in
'') archs=(amd64 arm64) chosen=(stage3:: --skip stage3::arm64_kernel) ;;
amd64) archs=(amd64) chosen=(stage3:: --skip stage3::arm64 --skip stage3::real_kernel) ;;
arm64-kernel) archs=(arm64) chosen=(stage3::arm64_kernel) ;;
*) die "usage: $0 [amd64|arm64-kernel]" ;;
esac

if ((EUID != 0)); then
    [[ ${1-} == amd64 ]] || die "a mirror with a stage3 can be made by root alone"
    say "roots of stage3s: skipped, as a mirror with one can be made by root alone"
    exit
fi
scripts/setup.sh stage3
# It may have put a Rust in place.
install_rust

# In a container, nobody may have told the kernel yet what runs programs of other machines.
enable_emulation() {
    local known=/proc/sys/fs/binfmt_misc
    [[ -e $known/register ]] || mount -t binfmt_misc none "$known" || die "$known can't be mounted; the host's root can"
    [[ -e $known/qemu-aarch64 ]] || update-binfmts --enable qemu-aarch64
}

mirror=$ROOT/target/stage3
for arch in "${archs[@]}"; do
    scripts/stage3-mirror.sh "$arch" "$mirror"
    [[ $arch == amd64 ]] || enable_emulation
done
export KILN_TEST_STAGE3=$mirror

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --no-fail-fast --test servers --run-ignored all -- "${chosen[@]}"
else
    cargo test --locked --test servers -- --include-ignored "${chosen[@]}"
fi

#!/usr/bin/env bash
#
# Installs what is missing on this machine, and only that.
#
#     scripts/setup.sh build    to compile kiln
#     scripts/setup.sh demo     and to build and boot the kernel of the example project
#     scripts/setup.sh check    and to run all checks
#     scripts/setup.sh bench    to measure

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# For SQLite, zstd, xz and BLAKE3, which kiln brings along as C.
build=(gcc libc6-dev make)

# What the rules of the example project run, and the kernel itself.
demo=(
    linux-source-6.1 bc binutils bison bzip2 cpio diffutils findutils flex gawk gzip kmod libelf-dev libssl-dev m4
    perl pkg-config qemu-system-x86 sed tar xz-utils zstd
)

# Tests leave root's rights, mount file systems, make repositories.
check=(git mount procps util-linux)

# What kiln is measured against.
bench=(git ninja-build)

case ${1-} in
build) install_packages "${build[@]}" ;;
demo) install_packages "${build[@]}" "${demo[@]}" ;;
check) install_packages "${build[@]}" "${demo[@]}" "${check[@]}" ;;
bench) install_packages "${build[@]}" "${demo[@]}" "${bench[@]}" ;;
*) die "usage: ${BASH_SOURCE[0]} build|demo|check|bench" ;;
esac

install_rust
if [[ $1 == check ]]; then
    install_lints
fi

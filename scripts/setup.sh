#!/usr/bin/env bash
#
# Installs what is missing on this machine, and only that.
#
#     scripts/setup.sh build    to compile kiln
#     scripts/setup.sh demo     and to build and boot the kernel of the example project
#     scripts/setup.sh check    and to run all checks, two rows of the matrix included
#     scripts/setup.sh remote   to compile kiln, and to run it with real servers
#     scripts/setup.sh stage3   to compile kiln, and to make roots of stage3s and build in them, of other machines too
#     scripts/setup.sh matrix   to build and boot all rows of the matrix
#     scripts/setup.sh bench    to measure

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# For SQLite, zstd, xz and BLAKE3, which kiln brings along as C.
build=(gcc libc6-dev make)

# What the rules of the example project run, and the kernel itself.
demo=(
    linux-source-6.1 bc binutils bison bzip2 cpio diffutils findutils flex gawk gzip kmod libelf-dev libssl-dev m4
    perl pkg-config qemu-system-x86 sed tar xz-utils zstd
)

# Cross compilers and machines of the rows that every check runs, and of the others.
few=(gcc-aarch64-linux-gnu gcc-m68k-linux-gnu qemu-system-arm qemu-system-misc)
rows=(
    gcc-alpha-linux-gnu gcc-arm-linux-gnueabihf gcc-hppa-linux-gnu gcc-i686-linux-gnu gcc-mips-linux-gnu
    gcc-powerpc-linux-gnu gcc-powerpc64-linux-gnu gcc-riscv64-linux-gnu gcc-sparc64-linux-gnu
    qemu-system-mips qemu-system-ppc qemu-system-sparc
)

# Tests leave root's rights, mount file systems and images, make repositories.
check=(busybox-static git mount procps squashfs-tools squashfuse uidmap util-linux)

# Servers that remotes are made for, certificates, and what BuildGrid is installed with. Any of nginx's flavours will do.
remote=(openssl postgresql procps python3-venv util-linux)
[[ -x /usr/sbin/nginx ]] || remote+=(nginx-light)

# A mirror's parts and its server, images, programs of other machines, and what ordinary users need to have roots.
stage3=(
    binfmt-support ca-certificates gcc-aarch64-linux-gnu gnupg mmdebstrap mount procps python3-venv qemu-user-static squashfs-tools squashfuse
    uidmap util-linux xz-utils
)
[[ -x /usr/sbin/nginx ]] || stage3+=(nginx-light)

# What kiln is measured against.
bench=(git ninja-build)

case ${1-} in
build) install_packages "${build[@]}" ;;
demo) install_packages "${build[@]}" "${demo[@]}" ;;
check) install_packages "${build[@]}" "${demo[@]}" "${check[@]}" "${few[@]}" ;;
remote)
    install_packages "${build[@]}"
    install_services "${remote[@]}"
    ;;
stage3)
    install_packages "${build[@]}"
    install_services "${stage3[@]}"
    ;;
matrix) install_packages "${build[@]}" "${demo[@]}" "${few[@]}" "${rows[@]}" ;;
bench) install_packages "${build[@]}" "${demo[@]}" "${bench[@]}" ;;
*) die "usage: ${BASH_SOURCE[0]} build|demo|check|remote|stage3|matrix|bench" ;;
esac

install_rust
if [[ $1 == check ]]; then
    install_lints
fi

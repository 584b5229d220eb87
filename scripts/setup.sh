#!/usr/bin/env bash
#
# Installs the packages that are missing on this machine, and no others.
#
#     scripts/setup.sh build    to compile kiln
#     scripts/setup.sh demo     and to build and boot the kernel of the example project
#     scripts/setup.sh check    and to run all checks, two rows of the matrix included
#     scripts/setup.sh long     and to build real kernels in several ways, with every optional tool
#     scripts/setup.sh remote   to compile kiln, and to run it with real servers
#     scripts/setup.sh stage3   to compile kiln, and to make roots of stage3s and build in them, of other machines too
#     scripts/setup.sh matrix   to build and boot all rows of the matrix
#     scripts/setup.sh bench    to measure

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# For the C code of SQLite, zstd, xz and BLAKE3.
build=(gcc libc6-dev=/usr/include/stdio.h make)

# Programs that the rules of the example project and the kernel's build run.
demo=(
    bc binutils=as bison bzip2 cpio diffutils=cmp findutils=find flex gawk gzip kmod=depmod
    libelf-dev=/usr/include/libelf.h libssl-dev=/usr/include/openssl/evp.h m4 perl=prove pkg-config
    qemu-system-x86=qemu-system-x86_64 sed tar xz-utils=xz zstd
)

# Cross compilers and emulators: for the rows that every check runs, and for the other rows.
few=(
    gcc-aarch64-linux-gnu=aarch64-linux-gnu-gcc gcc-m68k-linux-gnu=m68k-linux-gnu-gcc
    qemu-system-arm=qemu-system-aarch64 qemu-system-misc=qemu-system-m68k
)
rows=(
    gcc-alpha-linux-gnu=alpha-linux-gnu-gcc gcc-arm-linux-gnueabihf=arm-linux-gnueabihf-gcc
    gcc-hppa-linux-gnu=hppa-linux-gnu-gcc gcc-i686-linux-gnu=i686-linux-gnu-gcc gcc-mips-linux-gnu=mips-linux-gnu-gcc
    gcc-powerpc-linux-gnu=powerpc-linux-gnu-gcc gcc-powerpc64-linux-gnu=powerpc64-linux-gnu-gcc
    gcc-riscv64-linux-gnu=riscv64-linux-gnu-gcc gcc-sparc64-linux-gnu=sparc64-linux-gnu-gcc
    qemu-system-mips qemu-system-ppc=qemu-system-ppc64 qemu-system-sparc=qemu-system-sparc64
)

# The tests drop root's rights, mount file systems and images, make repositories, sign, and serve mirrors.
check=(
    attr=setfattr busybox-static=/usr/share/doc/busybox-static e2fsprogs=mkfs.ext4 git gnupg=gpg mount nginx-light=nginx procps=pkill
    squashfs-tools=mksquashfs squashfuse strace uidmap=newuidmap util-linux=unshare
)

# For kernels that sign, compress and describe their types; and Debian's own configuration of one, which only Debian 12 has.
long=(lz4 openssl pahole python3)
debian_config=linux-config-6.1=/usr/src/linux-config-6.1/config.amd64_none_amd64.xz

# Servers for the tests of remotes, certificates, and Python for BuildGrid. Any of nginx's packages will do.
remote=(
    nginx-light=nginx openssl postgresql=/usr/lib/postgresql/*/bin/postgres procps=pkill
    python3-venv=/usr/lib/python3.*/ensurepip util-linux=unshare
)

# For a stage3 mirror: its parts, its server, images, emulation, and what ordinary users need for roots.
stage3=(
    binfmt-support=update-binfmts ca-certificates=/etc/ssl/certs/ca-certificates.crt
    gcc-aarch64-linux-gnu=aarch64-linux-gnu-gcc gnupg=gpg mmdebstrap mount nginx-light=nginx procps=pkill
    python3-venv=/usr/lib/python3.*/ensurepip qemu-user-static=qemu-aarch64-static squashfs-tools=mksquashfs squashfuse
    uidmap=newuidmap util-linux=unshare xz-utils=xz
)

# Programs that kiln is measured against.
bench=(git ninja-build=ninja)

# Some tests mount images as an ordinary user. udev opens /dev/fuse to all users; without udev only root may use it.
open_fuse() {
    if ((EUID == 0)) && [[ -c /dev/fuse && ! -e /run/udev/control && $(stat -c %a /dev/fuse) != 666 ]]; then
        say "opening /dev/fuse to all users, as udev does"
        chmod 666 /dev/fuse
    fi
}

case ${1-} in
build) install_missing "${build[@]}" ;;
demo) install_missing "${build[@]}" "${demo[@]}" ;;
check)
    install_missing "${build[@]}" "${demo[@]}" "${few[@]}"
    install_services "${check[@]}"
    open_fuse
    ;;
long)
    install_missing "${build[@]}" "${demo[@]}" "${few[@]}" "${long[@]}"
    install_services "${check[@]}"
    if apt-cache pkgnames "${debian_config%%=*}" 2>/dev/null | grep -qx "${debian_config%%=*}"; then
        install_missing "$debian_config"
    fi
    open_fuse
    ;;
remote)
    install_missing "${build[@]}"
    install_services "${remote[@]}"
    ;;
stage3)
    install_missing "${build[@]}"
    install_services "${stage3[@]}"
    open_fuse
    ;;
matrix) install_missing "${build[@]}" "${demo[@]}" "${few[@]}" "${rows[@]}" ;;
bench) install_missing "${build[@]}" "${demo[@]}" "${bench[@]}" ;;
*) die "usage: ${BASH_SOURCE[0]} build|demo|check|long|remote|stage3|matrix|bench" ;;
esac

install_rust
if [[ $1 == check ]]; then
    install_lints
fi

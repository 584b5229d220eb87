#!/usr/bin/env bash
#
# What kiln is measured against (benches/matrix.rs): rows of examples/tiny built and booted by make and QEMU, one after the
# other, as a shell script would.
#
#     scripts/matrix-by-hand.sh TREE WORK ARCH..

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tree=$1 work=$2
shift 2

export KBUILD_BUILD_USER=kiln KBUILD_BUILD_HOST=kiln KBUILD_BUILD_VERSION=1 LOCALVERSION='' GIT_DIR=/dev/null
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'

# Sets kbuild's ARCH, the prefix, the fragment, the image and QEMU's command line.
row() {
    local serial=ttyS0
    kernel=$1 image=vmlinux
    case $1 in
    alpha) prefix=alpha-linux-gnu- board=alpha-clipper qemu=(qemu-system-alpha -M clipper -m 256) ;;
    arm)
        prefix=arm-linux-gnueabihf- board=arm-virt image=arch/arm/boot/zImage serial=ttyAMA0
        qemu=(qemu-system-arm -M virt-2.11 -cpu cortex-a15 -m 256)
        ;;
    arm64)
        prefix=aarch64-linux-gnu- board=arm64-virt image=arch/arm64/boot/Image serial=ttyAMA0
        qemu=(qemu-system-aarch64 -M virt -cpu cortex-a57 -m 256)
        ;;
    hppa) kernel=parisc prefix=hppa-linux-gnu- board=hppa-b160l qemu=(qemu-system-hppa -m 256) ;;
    m68k) prefix=m68k-linux-gnu- board=m68k-q800 qemu=(qemu-system-m68k -M q800 -m 128) ;;
    mips32) kernel=mips prefix=mips-linux-gnu- board=mips-malta qemu=(qemu-system-mips -M malta -m 128) ;;
    ppc)
        kernel=powerpc prefix=powerpc-linux-gnu- board=ppc-g3beige serial=ttyPZ0
        qemu=(qemu-system-ppc -M g3beige -m 256)
        ;;
    ppc64)
        kernel=powerpc prefix=powerpc64-linux-gnu- board=ppc64-pseries serial=hvc0
        qemu=(qemu-system-ppc64 -M pseries -m 512 -vga none)
        ;;
    riscv)
        prefix=riscv64-linux-gnu- board=riscv-virt image=arch/riscv/boot/Image
        qemu=(qemu-system-riscv64 -M virt -m 256)
        ;;
    sparc64) prefix=sparc64-linux-gnu- board=sparc64-sun4u qemu=(qemu-system-sparc64 -M sun4u -m 256) ;;
    x86)
        kernel=i386 prefix=i686-linux-gnu- board=x86-pc image=arch/x86/boot/bzImage
        qemu=(qemu-system-i386 -M pc -m 128)
        ;;
    x86_64) prefix='' board=x86_64-pc image=arch/x86/boot/bzImage qemu=(qemu-system-x86_64 -M pc -m 128) ;;
    *) die "no row $1" ;;
    esac
    cmdline="console=$serial panic=-1"
}

mkdir -p "$work"
gcc -O1 -o "$work/pack" "$ROOT/boot/pack.c"
for arch; do
    row "$arch"
    o=$work/$arch
    rm -rf "$o"
    mkdir "$o"
    cat "$ROOT/examples/tiny/configs/tiny.config" "$ROOT/examples/tiny/configs/$board.config" >"$o/fragment"
    make=(make -C "$tree" "O=$o" "ARCH=$kernel" ${prefix:+"CROSS_COMPILE=$prefix"} "-j$(nproc)")
    KCONFIG_ALLCONFIG=$o/fragment "${make[@]}" allnoconfig >"$o/log" 2>&1
    "${make[@]}" all >>"$o/log" 2>&1
    "${prefix}gcc" -Os -static -nostdlib -ffreestanding -fno-stack-protector -fno-pic -no-pie -Wl,--build-id=none \
        -Wl,-e,_start -s "-DARCH=\"$arch\"" -o "$o/boot-init" "$ROOT/boot/init.c"
    "$work/pack" "$o/boot-init" "$o/initramfs.cpio"
    gzip -9nf "$o/initramfs.cpio"
    timeout 120 "${qemu[@]}" -nographic -nodefaults -serial stdio -no-reboot -kernel "$o/$image" \
        -initrd "$o/initramfs.cpio.gz" -append "$cmdline" </dev/null >"$o/console" 2>&1
    grep -q "KILN-BOOT-OK $arch" "$o/console" || die "$arch did not boot: $o/console"
done

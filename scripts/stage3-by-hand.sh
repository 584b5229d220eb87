#!/usr/bin/env bash
#
# What preparing a root is measured against (benches/roots.rs): the same by a shell script.
#
#     scripts/stage3-by-hand.sh stage3|packages URL MIRROR WORK
#
# URL is where the mirror MIRROR, which scripts/stage3-mirror.sh made, is served.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

step=$1 url=$2 mirror=$3 work=$4
builds=releases/amd64/autobuilds
mkdir -p "$work/gnupg"
chmod 700 "$work/gnupg"
export GNUPGHOME=$work/gnupg

# The latest build by the signed text, its tarball, digests and signature, and an image of it.
stage3() {
    cd "$work"
    rm -f base.img ./*.tar.xz*
    gpg --quiet --batch --import "$mirror/keys/release.asc" 2>/dev/null
    curl -fsS "$url$builds/latest-stage3-amd64-openrc.txt" | gpg --quiet --batch --decrypt >latest 2>/dev/null
    local path name
    path=$(awk '/^[0-9]/ { print $1 }' latest)
    name=${path##*/}
    for end in '' .asc .DIGESTS; do
        curl -fsS -O "$url$builds/$path$end"
    done
    gpg --quiet --batch --verify "$name.asc" "$name" 2>/dev/null
    gpg --quiet --batch --decrypt "$name.DIGESTS" >digests 2>/dev/null
    awk -v name="$name" '/^# / { kind = $2 } kind == "SHA512" && $2 == name' digests | sha512sum --quiet -c
    awk -v name="$name" '/^# / { kind = $2 } kind == "BLAKE2B" && $2 == name' digests | b2sum --quiet -c
    # What is behind the archive's end is read by nobody.
    xz -dc "$name" | {
        mksquashfs - base.img -tar -noappend -no-progress -quiet -comp zstd -Xcompression-level 3 -b 128K >/dev/null
        cat >/dev/null
    }
}

# The latest tree of ebuilds by the signed list. An account and packages over the stage3, in namespaces of their own, and an image of what was written.
packages() {
    cd "$work"
    rm -rf upper workdir packages delta.img
    mkdir -p upper workdir packages base root
    gpg --quiet --batch --import "$mirror/keys/ebuilds.asc" 2>/dev/null
    curl -fsS "${url}snapshots/squashfs/sha512sum.txt" | gpg --quiet --batch --decrypt >trees 2>/dev/null
    local tree
    tree=$(awk '$2 ~ /^gentoo-[0-9]+\.xz\.sqfs$/ { print $2 }' trees | sort | tail -n 1)
    curl -fsS -o "$tree" "${url}snapshots/squashfs/$tree"
    grep "  $tree\$" trees | sha512sum --quiet -c
    ln -sf "$tree" ebuilds.img
    # shellcheck disable=SC2016
    unshare --mount --pid --ipc --uts --net --fork --kill-child bash -euo pipefail -c '
        mount -o loop,ro base.img base
        mount -t overlay overlay -o lowerdir=base,upperdir=upper,workdir=workdir root
        mkdir -p root/var/cache/binpkgs root/var/db/repos/gentoo
        mount -o loop,ro ebuilds.img root/var/db/repos/gentoo
        mount --bind packages root/var/cache/binpkgs
        mount -t proc proc root/proc
        for dir in dev run tmp var/tmp; do mount -t tmpfs tmpfs root/$dir; done
        mkdir -p root/run/lock root/dev/pts root/dev/shm
        mount -t devpts -o newinstance,ptmxmode=0666 devpts root/dev/pts
        ln -s pts/ptmx root/dev/ptmx
        for name in null zero full random urandom tty; do touch root/dev/$name; mount --bind /dev/$name root/dev/$name; done
        ln -s /proc/self/fd root/dev/fd
        echo buildbot:x:1000:1000::/home/buildbot:/bin/sh >>root/etc/passwd
        mkdir -p root/home/buildbot
        chown 1000:1000 root/home/buildbot
        export FEATURES="-ipc-sandbox -network-sandbox -pid-sandbox -news -merge-sync" MAKEOPTS=-j2 PKGDIR=/var/cache/binpkgs
        chroot root emerge --buildpkg --usepkg --noreplace --binpkg-respect-use=y --color=n --nospinner --quiet-build=y sys-devel/bc virtual/libelf
    ' >emerge.log 2>&1
    mksquashfs upper delta.img -noappend -no-progress -quiet -comp zstd -Xcompression-level 3 -b 128K >/dev/null
}

case $step in
stage3 | packages) "$step" ;;
*) die "usage: $0 stage3|packages URL MIRROR WORK" ;;
esac

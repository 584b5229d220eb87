#!/usr/bin/env bash
#
# A mirror as Gentoo's are, for tests, with one stage3 on it, a Debian userland with the real Portage (from PyPI), and a tiny
# tree of ebuilds (tests/gentoo).
#
#     stage3-mirror.sh ARCH DIR                    a mirror in DIR (ARCH: amd64 or arm64)
#     stage3-mirror.sh ARCH DIR DATE [KEY [TO]]    the same stage3 as a build of DATE (20260101T000000Z, say), signed by KEY,
#                                                  on the mirror in TO (DIR): seconds, as only the texts are new
#
# What there is in DIR then:
#
#     releases/ARCH/autobuilds/latest-stage3-ARCH-openrc.txt, DATE/stage3-ARCH-openrc-DATE.tar.xz and what is beside it
#     snapshots/squashfs/gentoo-DAY.xz.sqfs, sha512sum.txt     the tree, signed by a key of its own (ebuilds)
#     keys/KEY.asc, KEY.fingerprint     release, ebuilds, other (nobody pins it), expired, revoked
#     made/                             what later calls take from earlier ones: the tarball, the secret keys
#
# With KILN_STAGE3_MORE=NAME the build has one file more, etc/NAME; with KILN_EBUILDS=DIR, the tree is that one; with
# KILN_EBUILDS_KEY=KEY, it is signed by that key.
#
# KILN_STAGE3_INIT=openrc or =systemd makes one that boots, instead (scripts/stage3-init.sh): ARCH-hardened-openrc, ARCH-systemd.
#
# No program of the stage3 runs while it is made, so that one for another machine takes no longer and needs no emulation.
# As root. KILN_DEBIAN_MIRROR is where its packages come from, KILN_PYTHON what fetches from PyPI (/usr/bin/python3).

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: $0 amd64|arm64 DIR [DATE [release|other|expired|revoked [DIR]]]"
(($# >= 2 && $# <= 5)) || die "$usage"
arch=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
date=${3:-$(date -u +%Y%m%dT%H%M%SZ)}
key=${4:-release}
mkdir -p "${5:-$dir}"
to=$(cd "${5:-$dir}" && pwd)

[[ $date =~ ^[0-9]{8}T[0-9]{6}Z$ ]] || die "$date is no date such as 20260101T000000Z"
case $arch in
amd64) chost=x86_64-pc-linux-gnu debian=x86_64-linux-gnu ;;
arm64) chost=aarch64-unknown-linux-gnu debian=aarch64-linux-gnu ;;
*) die "$usage" ;;
esac

made=$dir/made
keys=$dir/keys
tarball=$made/stage3-$arch.tar.xz
portage=3.0.83
# Python's own, as the stage3 has it.
python=${KILN_PYTHON:-/usr/bin/python3}

# What goes when this ends.
GNUPGHOME=$(mktemp -d /tmp/kiln-gpg.XXXXXX)
export GNUPGHOME
work=
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME" ${work:+"$work"}' EXIT

# What Portage needs, and a kernel's build. Nothing of it is configured: no script of a package runs.
packages=(
    base-files base-passwd bash bc binutils bison bzip2 coreutils cpio dash diffutils findutils flex gawk gcc gpg grep gzip kmod
    libc-bin libc6-dev libelf-dev m4 make patch perl-base python3 sed tar util-linux wget xz-utils zstd
)

# One that boots has more, and a name of its own.
source "$ROOT/scripts/stage3-init.sh"
init=${KILN_STAGE3_INIT-}
variant=$arch-openrc
if [[ -n $init ]]; then
    read -ra more <<<"$(init_packages "$init" | tr '\n' ' ')"
    packages+=("${more[@]}")
    variant=$arch-$(init_name "$init")
    tarball=$made/stage3-$variant.tar.xz
fi

# --- the tree --------------------------------------------------------------------------------------------------------

# Takes away what nothing here uses: most of what Debian has in these packages.
prune() {
    local root=$1 lib=$1/usr/lib/$debian gcc=$1/usr/lib/gcc/$debian/12
    rm -rf "$root"/usr/share/{bash-completion,bug,doc,doc-base,gdb,icons,info,lintian,locale,man,menu,perl5,pixmaps,zsh}
    rm -rf "$root"/usr/share/{applications,apport,debconf,locale,mime,readline,terminfo,zoneinfo}
    rm -rf "$root"/var/{cache,lib/{apt,dpkg},log}/* "$root"/etc/{apt,cron.d,cron.daily} "$root"/usr/lib/apt
    [[ -n $init ]] || rm -rf "$root"/etc/{systemd,init.d} "$root"/usr/lib/systemd
    rm -rf "$lib"/{gprofng,sasl2,libgprofng.*,libasan.*,liblsan.*,libtsan.*,libubsan.*,libdb-*}
    rm -f "$lib"/{libc,libm-*,libmvec,libelf,libz,libcrypt,libnsl,libtirpc}.a "$gcc"/{lib?san.a,libubsan.a,libhwasan.a}
    rm -f "$lib"/libhwasan.* "$gcc"/lto1 "$root"/usr/bin/*-{lto-dump,lto-dump-12,dwp,ld.gold,gprofng,gp-*}
    rm -f "$root"/usr/bin/{perl5*,gp-*,gprofng,dwp,ld.gold,lto-dump,lto-dump-12}
    rm -rf "$root"/usr/lib/python3.11/{ensurepip,idlelib,lib2to3,pydoc_data,sqlite3,test,tkinter,turtledemo,unittest}
    find "$lib/gconv" -type f ! -name 'UTF-*' ! -name 'gconv-modules*' -delete
}

# Gentoo's names for compiler and binutils: links from /usr/bin to a directory of each version, absolute ones.
name_tools() {
    local root=$1 program tool own
    for program in gcc cpp gcc-ar gcc-nm gcc-ranlib gcov; do
        own=/usr/$chost/gcc-bin/12/$chost-$program
        link "$root" "/usr/bin/$debian-$program-12" "$own"
        link "$root" "$own" "/usr/bin/$program" "/usr/bin/$chost-$program"
    done
    link "$root" "/usr/bin/$chost-gcc" /usr/bin/cc
    for program in "$root/usr/bin/$debian"-{addr2line,ar,as,c++filt,elfedit,gprof,ld.bfd,nm,objcopy,objdump,ranlib,readelf,size,strings,strip}; do
        tool=${program##*"$debian-"}
        own=/usr/$chost/binutils-bin/2.40/$tool
        link "$root" "/usr/bin/$debian-$tool" "$own"
        link "$root" "$own" "/usr/bin/$tool" "/usr/bin/$chost-$tool"
    done
    own=/usr/$chost/binutils-bin/2.40/ld
    link "$root" ld.bfd "$own"
    link "$root" "$own" /usr/bin/ld "/usr/bin/$chost-ld"
}

# link ROOT TARGET NAME..: symbolic links in a root.
link() {
    local root=$1 target=$2 name
    for name in "${@:3}"; do
        mkdir -p "$root${name%/*}"
        ln -sfn "$target" "$root$name"
    done
}

# What is in a package of tests/gentoo is not in the stage3: it lies where only that package's ebuild finds it.
hide() {
    local hidden=$1/usr/share/kiln-test
    mkdir -p "$hidden/elfutils"
    mv "$1/usr/bin/bc" "$hidden/"
    mv "$1"/usr/include/{elfutils,gelf.h,libelf.h,nlist.h} "$hidden/elfutils/"
}

add_portage() {
    local root=$1 modules=$1/usr/lib/python3/dist-packages wheel=$made/portage data name
    data=$wheel/portage-$portage.data/data
    mkdir -p "$modules" "$root"/usr/share "$root"/etc/portage/repos.conf
    cp -r "$wheel"/{portage,_emerge} "$modules/"
    cp -r "$data/lib/portage" "$root/usr/lib/"
    cp -r "$data/share/portage" "$root/usr/share/"
    # The wheel is made to be used beside a Portage; this makes it the system's own.
    sed -i 's/^if "MODULE" == "MODULE":/if False:/; s/^elif "MODULE" == "SYSTEM":/elif True:/' "$modules/portage/installation.py"
    sed -i 's|^\( *PORTAGE_BASE_PATH\) = """"""|\1 = "/usr/lib/portage"|
        s|^\( *PORTAGE_BIN_PATH\) = """"""|\1 = "/usr/lib/portage/bin"|' "$modules/portage/const.py"
    find "$root/usr/lib/portage/bin" -type f -exec chmod 755 {} +
    for name in ebuild emaint emerge env-update portageq quickpkg; do
        ln -sfn "../lib/portage/bin/$name" "$root/usr/bin/$name"
    done
    # Its helpers ask for these by name.
    ln -sfn python3 "$root/usr/bin/python"
    ln -sfn tar "$root/usr/bin/gtar"
    # As a Python that has been installed has them: else each emerge would compile all of them.
    "$python" -m compileall -q -j 2 --invalidation-mode unchecked-hash -s "$root" "$modules" "$root/usr/lib/python3.11"
}

configure() {
    local root=$1 name
    cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
    cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
    echo 'portage:x:250:250:portage:/var/lib/portage/home:/bin/false' >>"$root/etc/passwd"
    echo 'portage:x:250:' >>"$root/etc/group"
    sed 's/:.*/:*:10770:0:::::/' "$root/etc/passwd" >"$root/etc/shadow"
    chmod 640 "$root/etc/shadow"
    sed -i 's/:\*:/:x:/' "$root"/etc/{passwd,group}
    ln -sfn bash "$root/usr/bin/sh"
    # Debian's alternatives.
    link "$root" gawk /usr/bin/awk
    printf '127.0.0.1\tlocalhost\n' >"$root/etc/hosts"
    echo 'Gentoo Base System release 2.17' >"$root/etc/gentoo-release"
    mkdir -p "$root"/var/{cache/{binpkgs,distfiles},db/pkg,db/repos,lib/portage/home,log/portage} "$root/run/lock" "$root/root"
    cat >"$root/etc/portage/repos.conf/gentoo.conf" <<'EOF'
[DEFAULT]
main-repo = gentoo

[gentoo]
location = /var/db/repos/gentoo
sync-type =
sync-uri =
auto-sync = no
EOF
    # As Gentoo's have it.
    mkdir -p "$root/etc/portage/binrepos.conf"
    cat >"$root/etc/portage/binrepos.conf/gentoo.conf" <<'EOF'
[gentoo]
priority = 1
sync-uri = http://127.0.0.1:9/nobody/listens/here
location = /var/cache/binhost/gentoo
verify-signature = true
EOF
    # What makes Portage's own sandbox is no Python.
    cat >"$root/etc/portage/make.conf" <<'EOF'
CFLAGS="-O2 -pipe"
FEATURES="-sandbox -usersandbox -usersync"
LC_MESSAGES=C.UTF-8
EOF
    ln -sfn "../../var/db/repos/gentoo/profiles/default/linux/$arch" "$root/etc/portage/make.profile"
    chown -R 250:250 "$root"/var/{cache/distfiles,lib/portage,log/portage}
    # What an archive can hold besides: a capability (CAP_SYSLOG), hard links.
    "$python" -c 'import os, sys
os.setxattr(sys.argv[1], "security.capability", bytes.fromhex("0100000200000000000000000400000000000000"))' \
        "$root/usr/bin/dmesg"
    ln -f "$root/usr/bin/bzip2" "$root/usr/bin/bunzip2"
}

# --- what it is made of ----------------------------------------------------------------------------------------------

# pip of an environment of its own, as Debian's python3 has none.
fetch_portage() {
    [[ -d $made/portage ]] && return
    say "fetching Portage"
    [[ -x $made/venv/bin/pip ]] || "$python" -m venv "$made/venv"
    rm -rf "$made/wheels"
    "$made/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$made/wheels" \
        --require-hashes --requirement /dev/stdin <<EOF
portage==$portage --hash=sha256:25de95ad893cdf9abec2bf4d18217b3fc07756989c62d3e74bb1695cdf639402
EOF
    "$python" -m zipfile -e "$made/wheels"/*.whl "$made/portage.new"
    mv -T "$made/portage.new" "$made/portage"
}

# A tarball as catalyst packs it, with the list of what is in it.
make_tarball() {
    local root
    say "making the stage3 $variant"
    work=$(mktemp -d "$made/work.XXXXXX")
    root=$work/root
    unpack_packages "$root"
    prune "$root"
    name_tools "$root"
    hide "$root"
    add_portage "$root"
    configure "$root"
    [[ -z $init ]] || add_init "$root" "$init"
    chmod -R go-w "$root/usr" "$root/etc"
    # Behind the archive's end, pixz, which packs Gentoo's, has an index.
    tar --xattrs --xattrs-include='*' --numeric-owner --sort=name -C "$root" -cf - . |
        tee >({ cat; head -c 1000000 /dev/zero | tr '\0' i; } | xz -T0 -1 >"$work/tarball"; touch "$work/packed") |
        tar --numeric-owner --full-time -tvf - | gzip -n >"$work/contents"
    until [[ -e $work/packed ]]; do sleep 0.1; done
    mv "$work/contents" "$tarball.CONTENTS.gz"
    mv "$work/tarball" "$tarball"
}

# Unpacks Debian's packages, for whatever machine, and runs nothing of them. What is in / of old is in /usr by now.
unpack_packages() {
    local root=$1 names=(bin lib sbin) hook
    [[ $arch != amd64 ]] || names+=(lib64)
    # shellcheck disable=SC2016 # The hook's own.
    hook='for name in '"${names[*]}"'; do mkdir -p "$1/usr/$name" && ln -s "usr/$name" "$1/$name"; done'
    mmdebstrap --quiet --mode=root --variant=extract --architectures="$arch" --setup-hook="$hook" \
        --include="$(IFS=, && echo "${packages[*]}")" bookworm "$root" \
        "${KILN_DEBIAN_MIRROR:-http://deb.debian.org/debian}"
}

# --- keys and signatures ---------------------------------------------------------------------------------------------

# gpg with a home of its own, which goes with this call: the path of its agent's socket has to be short, and no other call
# may end its agent.
sign() {
    gpg --batch --yes --quiet --trust-model always --passphrase '' --pinentry-mode loopback "$@" 2>"$GNUPGHOME/said" ||
        { cat "$GNUPGHOME/said" >&2 && return 1; }
}

# A primary key that certifies and a subkey that signs, as the real one has them: make_key NAME EXPIRES [gpg's options].
make_key() {
    local name=$1 expires=$2 user fingerprint
    user="Test Release Engineering, $name <$name@kiln.invalid>"
    sign "${@:3}" --quick-generate-key "$user" rsa2048 cert "$expires"
    fingerprint=$(sign --with-colons --list-keys "$user" | awk -F: '$1 == "fpr" { print $10; exit }')
    sign "${@:3}" --quick-add-key "$fingerprint" rsa2048 sign "$expires"
    sign --armor --export-secret-keys "$fingerprint" >"$made/keys/$name.asc"
    if [[ $name == revoked ]]; then
        sed 's/^:---/---/' "$GNUPGHOME/openpgp-revocs.d/$fingerprint.rev" | sign --import
    fi
    echo "$fingerprint" >"$keys/$name.fingerprint"
    sign --armor --export "$fingerprint" >"$keys/$name.asc"
}

# The clock that the expired key's owner had.
then=(--faked-system-time '20200601T000000!')

make_keys() {
    [[ -s $keys/ebuilds.asc ]] && return
    say "making keys"
    mkdir -p "$keys"
    (umask 077 && mkdir -p "$made/keys")
    make_key release never
    make_key other never
    make_key expired 1y "${then[@]}"
    make_key revoked never
    make_key ebuilds never
}

# --- the mirror ------------------------------------------------------------------------------------------------------

# The options by which a key signs.
signed_by() {
    by=(--local-user "$(<"$keys/$1.fingerprint")")
    [[ $1 != expired ]] || by+=("${then[@]}")
}

publish() {
    local name=stage3-$variant builds=$to/releases/$arch/autobuilds by hash now
    local file=$name-$date.tar.xz
    local build=$builds/$date/$file
    signed_by "$key"
    mkdir -p "$builds/$date"
    rm -f "$build"
    if [[ -n ${KILN_STAGE3_MORE-} ]]; then
        add_file "$KILN_STAGE3_MORE" >"$build"
    else
        ln "$tarball" "$build"
    fi
    ln -f "$tarball.CONTENTS.gz" "$build.CONTENTS.gz"
    sign "${by[@]}" --armor --detach-sign --output "$build.asc" "$build"
    (
        cd "$builds/$date"
        for hash in BLAKE2B:b2sum SHA512:sha512sum; do
            echo "# ${hash%:*} HASH"
            "${hash#*:}" "$file"
            echo "# ${hash%:*} HASH"
            "${hash#*:}" "$file.CONTENTS.gz"
        done | sign "${by[@]}" --clearsign --output "$file.DIGESTS"
        { echo "# SHA256 HASH" && sha256sum "$file"; } | sign "${by[@]}" --clearsign --output "$file.sha256"
    )
    # An old build was the latest when it was new.
    now=$(date -u -d "${date:0:8} ${date:9:2}:${date:11:2}:${date:13:2} UTC" +%s)
    {
        echo "# Latest as of $(date -uR -d "@$now")"
        echo "# ts=$now"
        echo "$date/$file $(stat -c %s "$build")"
    } | sign "${by[@]}" --clearsign --output "$builds/latest-$name.txt"
}

# The tarball with one file more: in front, as a header and an empty file, and nothing that would end the archive.
add_file() {
    # It goes with the keys.
    local dir=$GNUPGHOME/more
    mkdir -p "$dir/etc"
    touch "$dir/etc/$1"
    tar --numeric-owner -C "$dir" -cf - "./etc/$1" | head -c 512 | xz
    cat "$tarball"
}

# The tree of ebuilds as an image of the day, and the list of all of them.
publish_ebuilds() {
    local trees=$to/snapshots/squashfs by
    local image=$trees/gentoo-${date:0:8}.xz.sqfs
    signed_by "${KILN_EBUILDS_KEY-ebuilds}"
    mkdir -p "$trees"
    rm -f "$image"
    mksquashfs "${KILN_EBUILDS-$ROOT/tests/gentoo}" "$image" -comp xz -no-xattrs -force-uid 250 -force-gid 250 \
        -mkfs-time 0 -noappend -no-progress -quiet >/dev/null
    (cd "$trees" && sha512sum gentoo-*.xz.sqfs) | sign "${by[@]}" --clearsign --output "$trees/sha512sum.txt"
}

((EUID == 0)) || die "owners, devices and capabilities of a stage3 can be made by root alone"
mkdir -p "$made"
# One at a time makes what all share.
exec 9>"$made/lock"
flock 9
# What it is made by: with another script, it is another.
recipe=$(cd "$ROOT" && sha256sum scripts/stage3-{mirror,init}.sh)
if [[ ! -s $tarball || $(cat "$tarball.recipe" 2>/dev/null) != "$recipe" ]]; then
    install_missing ca-certificates=/etc/ssl/certs/ca-certificates.crt mmdebstrap \
        "python3-venv=/usr/lib/python3.*/ensurepip" xz-utils=xz
    fetch_portage
    make_tarball
    echo "$recipe" >"$tarball.recipe"
fi
install_missing gnupg=gpg squashfs-tools=mksquashfs
make_keys
exec 9>&-
sign --import "$made/keys/$key.asc" "$made/keys/${KILN_EBUILDS_KEY-ebuilds}.asc"
publish
publish_ebuilds

#!/usr/bin/env bash
#
# Runs the README's two commands on machines that have nothing but Debian's smallest system: roots made by mmdebstrap, and a
# clone of the last commit in each. As root.
#
#     check-fresh.sh                          bookworm and trixie: `make demo`, then `make check`
#     check-fresh.sh bookworm make demo       one root, one command
#     check-fresh.sh setup                    set-up alone, where packages of other versions are in the way
#
# Roots stay in target/fresh, as they are after the command: what failed can be looked at with `enter ROOT bash`.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

((EUID == 0)) || die "roots are made and entered by root alone"
install_missing ca-certificates=/etc/ssl/certs/ca-certificates.crt git mmdebstrap mount util-linux=unshare
home=$ROOT/target/fresh

# Makes the root of a release, bare but for make, and clones the project into it.
make_root() {
    local release=$1 root=$home/$2 mirror
    mirror=$(debian_mirror)
    [[ -n $mirror ]] || die "this is not Debian: apt knows of no archive to make a root from"
    [[ ! -d $root ]] || rm -rf --one-file-system "$root"
    mkdir -p "$home"
    say "making a bare $release in $root"
    mmdebstrap --quiet --variant=apt --include=ca-certificates,make "$release" "$root" \
        "deb $mirror $release main" "deb ${mirror%/*/}/debian-security $release-security main"
    cp --dereference /etc/resolv.conf "$root/etc/resolv.conf"
    cp /etc/hosts "$root/etc/hosts"
    # Where a proxy stands before the registries, its certificate is one that this machine was given.
    if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
        cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
        chroot "$root" update-ca-certificates >/dev/null
    fi
    git clone --quiet --no-local "$ROOT" "$root/root/kiln"
}

# Runs a command in the clone of a root, with namespaces of its own: as on a machine of its own, and not as in a chroot, in
# which no user namespace can be made. Nothing of this machine's environment is in it.
enter() {
    local root=$home/$1
    shift
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --pid --fork --propagation private bash -euc '
        root=$1; shift
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        for dir in dev sys; do mount --rbind "/$dir" "$root/$dir"; done
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        cd "$root"
        # Over the root itself, so that it is no chroot.
        mount --move . /
        exec chroot . env -i -C /root/kiln HOME=/root TERM=dumb CI=true \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
    ' enter "$root" "$@"
}

# qemu-utils of a later release, which does not go with this one's emulators: set-up replaces it. Where another package needs
# it as it is, set-up changes nothing and prints the command.
check_setup() {
    local root=qemu-utils output
    make_root bookworm "$root"
    # shellcheck disable=SC2016 # expanded inside
    enter "$root" bash -euc '
        sed "s/bookworm main/bookworm-backports main/" /etc/apt/sources.list | head -n 1 >/etc/apt/sources.list.d/backports.list
        apt-get update -q
        apt-get install -qy --no-install-recommends -t bookworm-backports qemu-utils
        rm /etc/apt/sources.list.d/backports.list
        version=$(dpkg-query -W -f "\${Version}" qemu-utils)
        mkdir -p /tmp/needs/DEBIAN
        printf "Package: needs-it\nVersion: 1\nArchitecture: all\nMaintainer: none <none@localhost>\nDescription: test\nDepends: qemu-utils (= %s)\n" \
            "$version" >/tmp/needs/DEBIAN/control
        dpkg-deb --build /tmp/needs /root/needs.deb
        dpkg -i /root/needs.deb
    ' >/dev/null
    if output=$(enter "$root" scripts/setup.sh demo 2>&1); then die "set-up broke a package that needs qemu-utils: $output"; fi
    [[ $output == *"would remove or break"*"as root: apt-get install"* ]] || die "set-up does not say what is in the way: $output"
    enter "$root" dpkg -r needs-it >/dev/null
    output=$(enter "$root" scripts/setup.sh demo 2>&1) || die "set-up failed beside another qemu-utils: $output"
    [[ $output == *"qemu-utils 1:"*" is in the way: "* ]] || die "set-up does not say what it replaced: $output"
    enter "$root" bash -euc 'command -v qemu-system-x86_64 qemu-img' >/dev/null || die "qemu-utils is gone"
    say "set-up: passed"
}

case ${1-} in
'')
    check_setup
    for release in bookworm trixie; do
        make_root "$release" "$release"
        for target in demo check; do
            say "$release: make $target"
            enter "$release" make "$target"
        done
    done
    ;;
setup) check_setup ;;
enter) shift; enter "$@" ;;
*)
    make_root "$1" "$1"
    enter "$@"
    ;;
esac

#!/usr/bin/env bash
#
# Unpacks Debian 12's kernel source to cache/sources/linux-6.1, where graph.ron looks for it, unless it is there.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

package=linux-source-6.1
archive=/usr/src/$package.tar.xz
tree=$ROOT/cache/sources/linux-6.1

[[ -d $tree ]] && exit

work=$(mktemp -d)
# What an earlier run left half-way is of no use.
partial=$tree.partial.$$
trap 'rm -rf "$work" "$partial"' EXIT

# Fetches the package from Debian 12's archive, on a machine whose own release does not have it: this one package, checked
# with Debian's key. Nothing is installed, and apt's own lists stay as they are.
fetch_from_bookworm() {
    local mirror key=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(debian_mirror)
    [[ -n $mirror && -e $key ]] ||
        die "this is not Debian: put a kernel tree at $tree"
    printf 'deb [signed-by=%s] %s bookworm main\n' "$key" "$mirror" >"$work/sources.list"
    mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/parts"
    local private=(
        -q -o "Dir::Etc::SourceList=$work/sources.list" -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State=$work/state"
        -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root
    )
    say "fetching $package from Debian 12's archive"
    apt-get "${private[@]}" update </dev/null
    (cd "$work" && apt-get "${private[@]}" download "$package" </dev/null && dpkg -x ./*.deb unpacked)
    archive=$work/unpacked$archive
}

if [[ ! -f $archive ]]; then
    command -v apt-get >/dev/null || die "this machine has no apt-get: put a kernel tree at $tree"
    # Images of containers come without apt's lists.
    ((EUID != 0)) || apt-get update -q </dev/null
    # By its whole name: apt takes one that it does not know for a pattern.
    if apt-cache pkgnames "$package" | grep -qx "$package"; then
        apt_install "$package"
    else
        fetch_from_bookworm
    fi
fi

say "unpacking $archive"
mkdir -p "${tree%/*}"
# The tree appears under its name when it is whole.
mkdir "$partial"
tar -xf "$archive" -C "$partial" --strip-components=1 --no-same-owner
# Another of these may have been quicker.
mv -nT "$partial" "$tree"

#!/usr/bin/env bash
#
# Unpacks Debian's kernel source to cache/sources/linux-6.1, where graph.ron looks for it, unless it is there.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

archive=/usr/src/linux-source-6.1.tar.xz
tree=$ROOT/cache/sources/linux-6.1

[[ -d $tree ]] && exit
[[ -f $archive ]] || die "$archive is not there: scripts/setup.sh demo"

say "unpacking $archive"
mkdir -p "${tree%/*}"
# The tree appears under its name when it is whole. What an earlier run left half-way is of no use.
partial=$tree.partial.$$
trap 'rm -rf "$partial"' EXIT
mkdir "$partial"
tar -xf "$archive" -C "$partial" --strip-components=1 --no-same-owner
# Another of these may have been quicker.
mv -nT "$partial" "$tree"

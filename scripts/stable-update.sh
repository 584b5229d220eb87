#!/usr/bin/env bash
#
# Measures one stable update (benches/stable_update.rs), which takes hours: from one of Debian's linux-source-6.12 to the
# next, by default the two newest versions that the archive has.
#
#     scripts/stable-update.sh [OLD NEW]
#
# The trees are unpacked below cache/stable-update/ and kept there (2 x 1.6 GB), or are those in KILN_OLD_TREE and
# KILN_NEW_TREE.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

package=linux-source-6.12
store=$ROOT/cache/stable-update

# Prints where the tree of a version is, once it is.
tree_of() {
    local version=$1 tree=$store/$1 partial
    if [[ ! -d $tree ]]; then
        say "getting $package $version" >&2
        mkdir -p "$store"
        partial=$(mktemp -d "$store/partial.XXXXXX")
        # As root, apt drops its rights for a download, and may not write here.
        (cd "$partial" && apt-get -o APT::Sandbox::User=root download "$package=$version") >&2
        dpkg-deb --fsys-tarfile "$partial"/*.deb | tar -x -C "$partial" "./usr/src/$package.tar.xz"
        mkdir "$partial/tree"
        tar -xf "$partial/usr/src/$package.tar.xz" -C "$partial/tree" --strip-components=1 --no-same-owner
        # The tree appears under its name when it is whole.
        mv -nT "$partial/tree" "$tree"
        rm -rf "$partial"
    fi
    printf '%s\n' "$tree"
}

if [[ -z ${KILN_OLD_TREE-} || -z ${KILN_NEW_TREE-} ]]; then
    command -v apt-get >/dev/null || die "this is not Debian: set KILN_OLD_TREE and KILN_NEW_TREE to two kernel trees"
    versions=("$@")
    if ((!$#)); then
        mapfile -t versions < <(apt-cache madison "$package" | awk '{ print $3 }' | sort -Vu | tail -n 2)
    fi
    ((${#versions[@]} == 2)) || die "the archive does not have two versions of $package: apt-get update"
    KILN_OLD_TREE=$(tree_of "${versions[0]}")
    KILN_NEW_TREE=$(tree_of "${versions[1]}")
fi

export KILN_OLD_TREE KILN_NEW_TREE
exec cargo bench --locked --bench stable_update

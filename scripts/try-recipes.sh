#!/usr/bin/env bash
#
# Tests the recipes of docs/ci-recipes.md. Takes their commands and their additions to graph.ron from that file, and runs them as a
# runner would: each run is in an empty directory, always the same one, with the files that the CI system kept.
#
#     scripts/try-recipes.sh PROJECT KILN    PROJECT is a small project without remotes, KILN the binary to test

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

(($# == 2)) || die "usage: ${BASH_SOURCE[0]} PROJECT KILN"
project=$(realpath "$1")
kiln=$(realpath "$2")
recipes=$ROOT/docs/ci-recipes.md

base=$(mktemp -d)
trap 'rm -rf "$base"' EXIT
place=$base/project
saved=$base/saved
mkdir "$base/bin"
ln -s "$kiln" "$base/bin/kiln"
export PATH=$base/bin:$PATH NO_COLOR=1

# Prints the code block after `<!-- try: $1 -->`.
block() {
    awk -v mark="<!-- try: $1 -->" '
        $0 == mark { wanted = 1; next }
        wanted && /^```/ { if (inside) exit; inside = 1; next }
        inside { print }
    ' "$recipes"
}

# Prints the commands of a recipe: the lines below `run: |`, or below `- |`.
commands() {
    block "$1" | awk '
        found { match($0, / */); if (NF && RLENGTH <= depth) exit; print substr($0, depth + 1) }
        /(run:|-) \|$/ { match($0, / */); depth = RLENGTH; found = 1 }
    '
}

# Prints what recipes add to graph.ron, with the test's own key and remote.
settings() {
    local name
    for name in "$@"; do
        block "$name"
    done | sed -e "s|ci-1:BASE64|$public|" \
        -e "s|url: \"https://[^\"]*\", user: \"[^\"]*\", token: [^ ]*,|url: \"dir:$saved/remote\",|"
}

# Does one run: $1 is the recipe, $2 the file or folder that the CI system keeps for it, the rest are additions to graph.ron. Prints how
# many nodes ran, and keeps the output in `said`.
run() {
    local recipe=$1 carried=$2 said=$base/said
    shift 2
    rm -rf "$place"
    cp -a "$project" "$place"
    settings "$@" >"$base/settings"
    sed -i "/version: 1,/r $base/settings" "$place/graph.ron"
    [[ -z $edit ]] || printf '%s\n' "$edit" >>"$place/linux/init/main.c"
    if [[ -n $carried && -e $saved/$carried ]]; then
        cp -a "$saved/$carried" "$place/$carried"
    fi
    if ! (cd "$place" && bash -e -o pipefail -c "$(commands "$recipe")") >"$said" 2>&1; then
        cat "$said" >&2
        die "$recipe failed"
    fi
    if [[ -n $carried && -e $place/$carried ]]; then
        rm -rf "${saved:?}/$carried"
        cp -a "$place/$carried" "$saved/$carried"
    fi
    awk '{ while (match($0, /[0-9]+ ran/)) { sum += substr($0, RSTART, RLENGTH - 4); $0 = substr($0, RSTART + RLENGTH) } }
        END { print sum + 0 }' "$said"
}

# Prints the digests of all saved files.
state() {
    (cd "$saved" && find . -type f -exec sha256sum {} + | sort)
}

# Fails unless $2, the number of nodes that ran in run $1, `is` $4, or is `above` or `below` it.
expect() {
    local holds
    case $3 in
    is) [[ $2 -eq $4 ]] && holds=1 ;;
    above) [[ $2 -gt $4 ]] && holds=1 ;;
    below) [[ $2 -lt $4 ]] && holds=1 ;;
    esac
    [[ -n ${holds-} ]] || {
        cat "$base/said" >&2
        die "$recipe: $1: $2 nodes ran, which is not $3 $4"
    }
}

try() {
    local recipe=$1 all before
    rm -rf "$saved"
    mkdir "$saved"
    [[ -n $(commands "$recipe") ]] || die "no recipe $recipe in $recipes"

    export KILN_KEY=$secret KILN_TOKEN=
    edit=
    all=$(run "$@")
    expect "the first run" "$all" above 2
    expect "the same again" "$(run "$@")" is 0
    edit="/* a commit */"
    expect "a commit of one file" "$(run "$@")" below "$all"
    expect "that again" "$(run "$@")" is 0

    # A continued result is verified once. Then nothing is left to verify.
    if [[ $recipe != *-bundle ]]; then
        run nightly "${@:2}" >/dev/null
        grep -q '^1 same' "$base/said" || die "$recipe: the night verifies nothing: $(<"$base/said")"
        run nightly "${@:2}" >/dev/null
        grep -q '^nothing to verify' "$base/said" || die "$recipe: the next night: $(<"$base/said")"
    fi

    # A pull request reads results and leaves none. Some services leave its variables unset, others set them empty.
    before=$(state)
    unset KILN_KEY
    expect "a pull request that changes nothing" "$(run "$@")" is 0
    export KILN_KEY=
    edit="/* a pull request */"
    expect "a pull request" "$(run "$@")" above 0
    [[ $(state) == "$before" ]] || die "$recipe: a pull request has changed what is kept"
    say "$recipe: as described"
}

cp -a "$project" "$place"
public=$(cd "$place" && kiln cache keygen ci-1 | sed -n 's/.*"\(ci-1:[^"]*\)".*/\1/p')
secret=$(<"$place/ci-1.secret")

try github-bundle kiln.bundle keys
try gitlab-bundle kiln.bundle keys
try gitlab-folder .kiln folder keys
try github-remote "" remote keys
try gitlab-remote "" remote keys

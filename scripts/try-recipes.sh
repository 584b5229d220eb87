#!/usr/bin/env bash
#
# Tries the recipes of docs/ci-recipes.md: takes their commands and what they add to graph.ron out of that file, and does
# what a runner does. Each run is in an empty directory, always the same one, with what the CI system has kept.
#
#     scripts/try-recipes.sh PROJECT KILN    a small project that has no remotes, and the kiln to try

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

# The code block behind `<!-- try: $1 -->`.
block() {
    awk -v mark="<!-- try: $1 -->" '
        $0 == mark { wanted = 1; next }
        wanted && /^```/ { if (inside) exit; inside = 1; next }
        inside { print }
    ' "$recipes"
}

# The commands of a recipe: what is below `run: |`, or below `- |`.
commands() {
    block "$1" | awk '
        found { match($0, / */); if (NF && RLENGTH <= depth) exit; print substr($0, depth + 1) }
        /(run:|-) \|$/ { match($0, / */); depth = RLENGTH; found = 1 }
    '
}

# What recipes add to the project's graph.ron, with the key that was made, and a remote that can be had.
settings() {
    local name
    for name in "$@"; do
        block "$name"
    done | sed -e "s|ci-1:BASE64|$public|" \
        -e "s|url: \"https://[^\"]*\", user: \"[^\"]*\", token: [^ ]*,|url: \"dir:$saved/remote\",|"
}

# One run: $1 is the recipe, $2 what the CI system carries for it, the rest what is added to graph.ron. Prints how many
# nodes ran, and keeps the output in `said`.
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

# All of what is saved, by content.
state() {
    (cd "$saved" && find . -type f -exec sha256sum {} + | sort)
}

# $1 is what was run, $2 how many nodes ran, which `is`, is `above` or `below` $4.
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

    # What was continued is verified once, and nothing is left to verify.
    if [[ $recipe != *-bundle ]]; then
        run nightly "${@:2}" >/dev/null
        grep -q '^1 same' "$base/said" || die "$recipe: the night verifies nothing: $(<"$base/said")"
        run nightly "${@:2}" >/dev/null
        grep -q '^nothing to verify' "$base/said" || die "$recipe: the next night: $(<"$base/said")"
    fi

    # Of a pull request nothing is left, and it reads what is there. Some services leave the variable out, some empty it.
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

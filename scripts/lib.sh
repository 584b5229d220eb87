# Functions that all scripts share. Sourced, not run.
# shellcheck shell=bash

set -euo pipefail

# kiln's repository: the directory above this file.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() {
    printf '== %s\n' "$*"
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Succeeds if a need is met. A need is PACKAGE=PROGRAM or PACKAGE=FILE: a Debian package, and the program or file (a pattern) that it
# is needed for. PACKAGE alone is short for PACKAGE=PACKAGE.
#
# Programs are looked for where the steps of a build look: not in /usr/local and not in home directories.
is_there() {
    local probe=${1#*=}
    if [[ $probe == /* ]]; then
        compgen -G "$probe" >/dev/null
    else
        PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v "$probe" >/dev/null
    fi
}

# Installs the packages of needs that are not met. Uses the network only if something is missing.
install_missing() {
    local need missing=()
    for need in "$@"; do
        is_there "$need" || missing+=("${need%%=*}")
    done
    ((${#missing[@]} == 0)) || apt_install "${missing[@]}"
}

# Installs packages. Removes none.
apt_install() {
    local versions=() install=(apt-get install --no-install-recommends)
    command -v apt-get >/dev/null ||
        die "this machine has no apt-get; install what Debian's packages of these names hold, then try again: $*"
    if ((EUID != 0)); then
        replacements "$@"
        die "packages are missing; as root: apt-get update && ${install[*]}${versions[*]:+ --allow-downgrades} $* ${versions[*]}"
    fi
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q </dev/null
    replacements "$@"
    if ((${#versions[@]})); then
        install+=(--allow-downgrades)
    fi
    "${install[@]}" -y --no-remove "$@" "${versions[@]}" </dev/null
}

# Sets `versions` to the packages that must change their version, so that apt can install these packages and remove nothing: installed
# packages of the same source in another version, each with the version that fits.
replacements() {
    local plan package version rival fitting obstacles
    versions=()
    plan=$(apt_plan "$@") || true
    obstacles=$(obstacles "$plan")
    if [[ $plan == *$'\nE: '* && -z $obstacles ]]; then
        die "apt can't install $*: $(tail -n 5 <<<"$plan")"
    fi
    while read -r package rival; do
        [[ -n $package ]] || continue
        version=$(dpkg-query -W -f '${Version}' "$package")
        fitting=${rival#*=}
        if [[ -z $rival ]] || ! apt-cache show "$package=$fitting" >/dev/null 2>&1; then
            refuse "$package $version" "${install[*]} $*"
        fi
        say "$package $version is in the way: ${rival%%=*} $fitting is of the same source and does not go with it;" \
            "$package is brought to $fitting"
        versions+=("$package=$fitting")
    done <<<"$obstacles"
    ((${#versions[@]})) || return 0
    # Something else may need the version that is here.
    plan=$(apt_plan --allow-downgrades "$@" "${versions[@]}") ||
        refuse "${versions[*]%%=*}" "${install[*]} --allow-downgrades $* ${versions[*]}"
    package=$(removed "$plan" | paste -sd ' ')
    [[ -z $package ]] || refuse "$package" "${install[*]} --allow-downgrades $* ${versions[*]}"
}

# Prints the installed packages that apt's plan $1 would remove or break, one per line. Beside each: the new package of the same source
# that conflicts with it, as NAME=VERSION, if there is one.
obstacles() {
    local package rival
    while read -r package; do
        printf '%s %s\n' "$package" "$(of_same_source "$package" "$1")"
    done < <(removed "$1")
    # If another package needs them, apt removes nothing and fails instead.
    while read -r package rival; do
        installed "$package" || continue
        [[ $(source_of "${rival%%=*}" "${rival#*=}") == $(installed_source "$package") ]] || rival=
        printf '%s %s\n' "$package" "$rival"
    done < <(sed -nE 's/^ *(\S+) : (Breaks|Conflicts): (\S+) .*but (\S+) is to be installed$/\1 \3=\4/p' <<<"$1" | sort -u)
}

# Prints what apt would do, one line per package. Changes nothing.
apt_plan() {
    LC_ALL=C apt-get install -s --no-install-recommends "$@" 2>&1 </dev/null
}

# Prints the packages that apt's plan $1 removes.
removed() {
    awk '$1 == "Remv" { sub(/:.*/, "", $2); print $2 }' <<<"$1"
}

# Prints the first package that plan $2 installs from the source of the installed package $1, as NAME=VERSION.
of_same_source() {
    local source name version
    source=$(installed_source "$1")
    while read -r name version; do
        if [[ $(source_of "$name" "$version") == "$source" ]]; then
            printf '%s=%s\n' "$name" "$version"
            return
        fi
    done < <(awk '$1 == "Inst" { name = $2; sub(/:.*/, "", name); sub(/.*\(/, ""); print name, $1 }' <<<"$2")
}

installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Prints the source package of an installed package.
installed_source() {
    dpkg-query -W -f '${source:Package}' "$1"
}

# Prints the source package of version $2 of package $1.
source_of() {
    apt-cache show "$1=$2" 2>/dev/null |
        awk -v name="$1" '$1 == "Source:" { name = $2 } END { print name }'
}

# Ends the script: installing would remove or break a package that the user may want to keep.
refuse() {
    die "installing would remove or break $1; if that is fine, as root: $2"
}

# Prints the base address of the Debian archive that this machine uses; nothing if apt knows none.
debian_mirror() {
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 !~ /-/ { print $3; exit }'
}

# As install_missing, for packages with services, which must not be started: some would listen on the network.
install_services() (
    local policy=/usr/sbin/policy-rc.d
    if ((EUID == 0)) && [[ ! -e $policy ]]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    install_missing "$@"
)

# Succeeds if version $1 is at least version $2.
at_least() {
    [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]
}

# Prints the oldest Rust that compiles kiln.
rust_wanted() {
    sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml"
}

# Prints the version of the Rust on the PATH; nothing if there is none, or if it does not run.
rust_found() {
    command -v cargo >/dev/null || return 0
    # rustup without a toolchain has a `rustc` that fails.
    { rustc --version 2>/dev/null || true; } | awk '{ sub(/-.*/, "", $2); print $2; exit }'
}

rust_is_new_enough() {
    local found
    found=$(rust_found)
    [[ -n $found ]] && at_least "$found" "$(rust_wanted)"
}

# Makes sure that a Rust compiles kiln: the one on the PATH, or else Debian's rustc-web, which is newer than Debian's rustc.
install_rust() {
    local found
    rust_is_new_enough && return
    # rustup's directory, for shells that have not read its `env`.
    export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    rust_is_new_enough && return
    if command -v rustup >/dev/null; then
        die "kiln needs Rust $(rust_wanted) or newer: rustup update stable"
    fi
    apt_install rustc-web cargo-web ca-certificates
    hash -r
    found=$(rust_found)
    rust_is_new_enough ||
        die "kiln needs Rust $(rust_wanted) or newer, and ${found:-none} is here; \
Debian has it as package rustc-web (in bookworm-security, trixie-security)"
}

# Makes sure that cargo has its subcommands fmt and clippy, from the source that cargo itself is from.
install_lints() {
    local missing=()
    cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
    ((${#missing[@]})) || return 0
    if [[ $(command -v cargo) == /usr/bin/cargo ]] && dpkg-query -W cargo-web >/dev/null 2>&1; then
        apt_install rustfmt-web rust-web-clippy
    else
        die "this Rust has no ${missing[*]}: rustup component add ${missing[*]}"
    fi
}

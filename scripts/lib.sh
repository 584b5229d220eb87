# What the scripts have in common. Sourced, not run.
# shellcheck shell=bash

set -euo pipefail

# What users call kiln's root: the directory above this file.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() {
    printf '== %s\n' "$*"
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Whether a Debian package is installed. Virtual packages don't count.
installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Installs those of the packages that are not there. Nothing is asked of the network where all are.
install_packages() {
    local package missing=()
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        die "this is not Debian; install what its packages ${missing[*]} hold, then try again"
    # A package that something installed conflicts with must not take that away unasked.
    local install=(apt-get install -y --no-install-recommends --no-remove "${missing[@]}")
    ((EUID == 0)) || die "missing packages; as root: apt-get update && ${install[*]}"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q </dev/null
    "${install[@]}" </dev/null
}

# The same for packages that bring services along, which would be started at once, some of them for the whole network.
install_services() (
    local policy=/usr/sbin/policy-rc.d
    if ((EUID == 0)) && [[ ! -e $policy ]]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    install_packages "$@"
)

# Whether version $1 is at least version $2.
at_least() {
    [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]
}

# The oldest Rust that compiles kiln.
rust_wanted() {
    sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml"
}

# The Rust that is on the PATH; nothing where there is none, or one that does not run.
rust_found() {
    command -v cargo >/dev/null || return 0
    # Shims of a rustup without a toolchain are found and fail.
    { rustc --version 2>/dev/null || true; } | awk '{ sub(/-.*/, "", $2); print $2; exit }'
}

rust_is_new_enough() {
    local found
    found=$(rust_found)
    [[ -n $found ]] && at_least "$found" "$(rust_wanted)"
}

# A Rust that compiles kiln: the one that is there, else Debian's for programs that need a newer one than its own.
install_rust() {
    local found
    rust_is_new_enough && return
    # Where rustup puts it, for shells that have not read its `env`.
    export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    rust_is_new_enough && return
    if command -v rustup >/dev/null; then
        die "kiln needs Rust $(rust_wanted) or newer: rustup update stable"
    fi
    install_packages rustc-web cargo-web ca-certificates
    hash -r
    found=$(rust_found)
    rust_is_new_enough ||
        die "kiln needs Rust $(rust_wanted) or newer, and ${found:-none} is here; \
Debian 12 has it in bookworm-security (package rustc-web)"
}

# cargo's subcommands for style and lints, from where cargo itself is.
install_lints() {
    local missing=()
    cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
    ((${#missing[@]})) || return 0
    if installed cargo-web; then
        install_packages rustfmt-web rust-web-clippy
    else
        die "this Rust has no ${missing[*]}: rustup component add ${missing[*]}"
    fi
}

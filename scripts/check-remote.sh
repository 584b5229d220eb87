#!/usr/bin/env bash
#
# Runs the tests of remotes against real servers: nginx and PostgreSQL from packages, BuildGrid from PyPI in a directory of
# its own below target/. Each test starts the servers that it needs, on loopback, and ends them; a PostgreSQL that runs here
# is left alone. BuildGrid is as new as the Python that runs it allows (KILN_PYTHON, else python3): 0.4.4 with Debian 12's.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
scripts/setup.sh remote
# It may have put a Rust in place.
install_rust

# Debian's own: another one that is first on the PATH may lack its venv.
python=${KILN_PYTHON:-/usr/bin/python3}

venv=target/remote-servers/venv
if [[ ! -x $venv/bin/bgd ]]; then
    say "installing BuildGrid into $venv"
    rm -rf "$venv"
    mkdir -p "${venv%/*}"
    "$python" -m venv "$venv"
    # Old versions go by an old driver for PostgreSQL.
    "$venv/bin/pip" install --quiet --disable-pip-version-check buildgrid psycopg2-binary
fi

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --test servers --run-ignored all -- remotes::
else
    cargo test --locked --test servers -- --include-ignored remotes::
fi
scripts/test.sh remote

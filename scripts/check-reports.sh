#!/usr/bin/env bash
#
# Holds what `kiln report --format kcidb` prints to KCIDB's own checks: kcidb-io from PyPI, in a directory of its own below
# target/. It needs Python 3.10 (KILN_PYTHON, else python3).

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
install_rust

python=${KILN_PYTHON-}
if [[ -z $python ]]; then
    install_missing "python3-venv=/usr/lib/python3.*/ensurepip"
    # Debian's own: another one that is first on the PATH may lack its venv.
    python=/usr/bin/python3
fi

venv=$ROOT/target/kcidb/venv
if ! "$venv/bin/python" -c 'import kcidb_io' 2>/dev/null; then
    say "installing kcidb-io into $venv"
    rm -rf "$venv"
    mkdir -p "${venv%/*}"
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check kcidb-io
fi

export KILN_TEST_KCIDB=$venv
cargo test --locked --test servers -- --include-ignored kcidb::

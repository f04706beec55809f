#!/bin/sh
# Makes .venv with the first Python that really works, and installs this project into it.
# usage: deploy/venv.sh [extras]        e.g. deploy/venv.sh test
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
extras=${1:-}

say() { printf '%s\n' "$*" >&2; }

# A version manager's shim exists for versions that are not installed, so each one is tried.
works() {
    "$1" -c 'import sys, ctypes, ssl, sqlite3; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
        >/dev/null 2>&1
}

find_python() {
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        for path in $(which -a "$name" 2>/dev/null || true); do
            if works "$path"; then printf '%s\n' "$path"; return 0; fi
        done
    done
    return 1
}

if ! works "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || {
        say "No working Python 3.11, 3.12 or 3.13 was found on the PATH."
        say "Debian/Ubuntu: apt-get install python3 python3-venv; or name one: make serve PYTHON=/path/to/python3.11"
        exit 1
    }
    say "Creating $venv with $python ($("$python" -c 'import platform; print(platform.python_version())'))"
    rm -rf "$venv"
    if ! "$python" -m venv "$venv" 2>"$venv.log"; then
        # Debian splits ensurepip off; virtualenv brings its own pip.
        rm -rf "$venv"
        if ! "$python" -m virtualenv -q "$venv" >/dev/null 2>&1; then
            say "$python cannot create virtual environments:"
            say "$(tail -n 3 "$venv.log")"
            say "Debian/Ubuntu: apt-get install python3-venv, then try again."
            rm -f "$venv.log"
            exit 1
        fi
    fi
    rm -f "$venv.log"
fi

say "Installing the project${extras:+ with its extras: $extras} (a minute the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --editable ".${extras:+[$extras]}" || {
    say "The installation failed (see above). Is there a network, or a package index that pip can reach?"
    exit 1
}

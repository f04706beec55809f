#!/bin/sh
# Installs Debian packages when this user may (root or passwordless sudo); else says what to run.
# usage: deploy/apt-install.sh package...
set -eu
[ $# -gt 0 ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "These tools are missing and there is no apt-get here: $*" >&2
    exit 0
fi
if [ "$(id -u)" = 0 ]; then as_root=""
elif sudo -n true 2>/dev/null; then as_root="sudo -n"
else
    echo "For the tests that need them: sudo apt-get install $*" >&2
    exit 0
fi
echo "Installing by apt: $*" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
for package in "$@"; do
    # One by one: a name that this release does not have must not keep the others away.
    $as_root apt-get install -qq -y --no-install-recommends "$package" >/dev/null ||
        echo "apt could not install $package" >&2
done

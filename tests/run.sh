#!/bin/sh
# usage: PY=python tests/run.sh MARKS [pytest's arguments]
# Tests that only compute run side by side, one process a core; then all others, which start servers
# and measure time, one after the other.
which=$1
shift
"$PY" -m pytest -m "($which) and compute" -n "$(nproc)" --maxprocesses 4 --dist worksteal "$@"
computed=$?
"$PY" -m pytest -m "($which) and not compute" --cov-append "$@"
others=$?
# 5 says that none was chosen.
[ $computed = 5 ] && exit $others
[ $others = 5 ] && exit $computed
exit $((computed ? computed : others))

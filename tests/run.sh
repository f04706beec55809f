#!/bin/sh
# usage: PY=python tests/run.sh MARKS [pytest's arguments]
# Tests that may run beside others do so, in a process more than there are cores, as some of them
# wait; then those that need the machine for themselves, one after the other.
which=$1
shift
"$PY" -m pytest -m "($which) and parallel" -n "$(($(nproc) + 1))" --maxprocesses 5 --dist worksteal "$@"
beside=$?
"$PY" -m pytest -m "($which) and not parallel" --cov-append "$@"
others=$?
# 5 says that none was chosen.
[ $beside = 5 ] && exit $others
[ $others = 5 ] && exit $beside
exit $((beside ? beside : others))

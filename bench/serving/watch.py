"""Looks at some addresses again and again, in a process of its own, and says how long each took."""

from __future__ import annotations

import http.client
import json
import sys
import time

# Seconds between looks: a page of metrics costs as much as dozens of inferences.
PAUSE = 0.4


def main(seconds: float, targets: list[str]) -> None:
    """Print {target: [ms, ...]}; a target is host:port/path, a failed look counts as infinite."""
    found: dict[str, list[float]] = {target: [] for target in targets}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for target in targets:
            found[target].append(_look(target))
        time.sleep(PAUSE)
    print(json.dumps(found))


def _look(target: str) -> float:
    address, _, path = target.partition("/")
    began = time.perf_counter()
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/" + path)
        answer = connection.getresponse()
        answer.read()
        good = answer.status == 200
    except OSError:
        good = False
    finally:
        connection.close()
    return (time.perf_counter() - began) * 1e3 if good else float("inf")


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])

"""Run in a child process: whether a pattern means a device that is here."""

from __future__ import annotations

import sys

from app.engine.opencl.device import choose
from app.errors import DeviceNotFound


def main(pattern: str) -> int:
    """Look for the device; the exit code is 0 if it is there, else 1 with the reason."""
    try:
        choose(pattern)
    except DeviceNotFound as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

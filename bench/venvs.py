"""Environments of their own for what we are compared with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def python(venv: Path) -> str:
    """The interpreter of an environment."""
    return str(venv / "bin" / "python")


def install(venv: Path, packages: Sequence[str]) -> None:
    """Make an environment with these packages, once.

    Raises: CalledProcessError if they cannot be had.
    """
    if not (venv / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([python(venv), "-m", "pip", "install", "-q", *packages], check=True)
        (venv / ".installed").touch()

"""Which file holds the tuned choices of a device."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from app.engine.opencl.device import Device


def choices_file(folder: Path, device: Device) -> Path:
    """Where the choices of a device are kept; another driver or other kernels have another file."""
    digest = hashlib.sha256()
    for part in (device.name, device.driver, device.platform, _kernels()):
        digest.update(part.encode() + b"\0")
    return folder / f"tuned-{digest.hexdigest()[:24]}.json"


def _kernels() -> str:
    folder = resources.files("app.engine") / "kernels"
    return "".join(f.read_text("utf-8") for f in sorted(folder.iterdir(), key=lambda f: f.name)
                   if f.name.endswith((".cl", ".h")))

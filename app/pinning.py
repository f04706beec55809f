"""Whether the card that the settings pin is there: asked once, before the first worker."""

from __future__ import annotations

import subprocess
import sys

from app.errors import SettingsError
from app.settings import Settings

AUTO = "auto"
# A driver that takes longer to say what there is would hang every worker.
SECONDS = 60.0


def check(settings: Settings) -> None:
    """Refuse to start without the device that OPENCL_DEVICE names; auto does without one.

    Only at the start: a card that is lost later must not take the server with it. In a child
    process, since OpenCL must not be touched before the fork.
    Raises: SettingsError with what there is instead.
    """
    if settings.backend == "tflite" or settings.opencl_device == AUTO:
        return
    command = [sys.executable, "-m", "app.engine.opencl.present", settings.opencl_device]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SettingsError(
            f"OPENCL_DEVICE={settings.opencl_device!r}: the drivers did not say within "
            f"{SECONDS:g} s which devices there are; BACKEND=tflite starts without them"
        ) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["a driver ended the process"])[-1]
        raise SettingsError(f"{said}; BACKEND=tflite starts without a device")

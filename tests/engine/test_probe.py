"""A device is tried out in a child process, and used, whatever the user's home is like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.service.live import ROOT
from tests.tools import require_tool

WHOLE = """
import sys
from pathlib import Path
import numpy as np
from app.engine.opencl.device import choose, probe
from app.engine.reader import read
from app.engine.loaded import LoadedModel
from app.engine.runtime import Runtime
device = choose("Portable Computing Language")
probe(device)
runtime = Runtime(device, Path(sys.argv[1]))
model = LoadedModel(runtime, read(Path("models/digits/1/model.tflite").read_bytes()))
print(float(model.run([np.zeros((1, 8, 8, 1), np.float32)])[0].sum()))
"""


def test_a_home_that_cannot_be_written_to_keeps_no_device_away(tmp_path: Path) -> None:
    """As in a container whose root file system is read-only."""
    require_tool("pocl")
    nowhere = {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none"}
    # PoCL, unlike the card's drivers, needs a folder of its own.
    own = {"POCL_CACHE_DIR": str(tmp_path / "pocl")}
    done = subprocess.run(
        [sys.executable, "-c", WHOLE, str(tmp_path / "kernels")], cwd=ROOT,
        env=os.environ | nowhere | own, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert abs(float(done.stdout.splitlines()[-1]) - 1) < 1e-5

"""python -m app.engine tune MODEL.tflite: time the kernel variants of a model on a device."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.engine.loaded import LoadedModel
from app.engine.opencl.device import AUTO, choose
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.engine.tuner import tune

BAR = 30


def progress(done: int, total: int, what: str) -> None:
    """Draw a bar on standard error."""
    filled = BAR * done // max(total, 1)
    sys.stderr.write(f"\r[{'#' * filled:{BAR}}] {done}/{total} {what:40.40}")


def main() -> int:
    """Tune one or more models; the choices are kept in the cache folder that workers share."""
    parser = argparse.ArgumentParser(prog="python -m app.engine")
    parser.add_argument("command", choices=["tune"])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--device", default=AUTO, help="as OPENCL_DEVICE")
    parser.add_argument("--seconds", type=float, default=600.0, help="budget of each model")
    parser.add_argument("--cache", type=Path,
                        default=Path.home() / ".cache" / "rx580-inference" / "kernels")
    options = parser.parse_args()
    device = choose(options.device)
    if device is None:
        sys.stderr.write("there is no OpenCL GPU; name a device by --device\n")
        return 1
    runtime = Runtime(device, options.cache)
    for path in options.models:
        model = LoadedModel(runtime, read(path.read_bytes()))
        count = tune(model, seconds=options.seconds, progress=progress)
        sys.stderr.write(f"\n{path.name}: {count} shapes tuned on {device.label}\n")
        model.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

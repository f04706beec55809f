"""Run inside the Debian 13 root: every case on rusticl, in both shapes, against the answers."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.engine.loaded import LoadedModel
from app.engine.opencl.device import choose
from app.engine.profile import RX_580
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine import oracle

# Cases whose names begin so keep numbers as float16, and may be off by one rounding to it.
HALVES = "halves"
ROUNDING = 2.0**-11 + oracle.FLOAT_TOLERANCE


def main(folder: Path, pattern: str, profiles: list[str]) -> None:
    """Write results.json: per profile and case the seconds, or what went wrong."""
    device = choose(pattern)
    assert device is not None
    results: dict[str, object] = {"device": device.name, "platform": device.platform,
                                  "driver": device.driver}
    for profile in profiles:
        there = device.profile if profile == "own" else replace(
            RX_580, align=max(RX_580.align, device.profile.align))
        runtime = Runtime(replace(device, profile=there))
        for file in sorted(folder.glob("*.npz")):
            start = time.perf_counter()
            try:
                check(runtime, file)
                outcome: object = round(time.perf_counter() - start, 3)
            except Exception as error:  # every failure is reported to the test outside
                outcome = f"{type(error).__name__}: {error}"[:800]
            results[f"{profile} {file.stem}"] = outcome
            (folder / "results.json").write_text(json.dumps(results, indent=1), "utf-8")


def check(runtime: Runtime, file: Path) -> None:
    """Compare one case."""
    kept = np.load(file)
    inputs = [kept[f"in{i}"] for i in range(sum(n.startswith("in") for n in kept.files))]
    halves = file.stem.startswith(HALVES)
    model = LoadedModel(runtime, read(file.with_suffix(".tflite").read_bytes()), halves)
    try:
        for i, actual in enumerate(model.run(inputs)):
            if halves:
                oracle.assert_close(actual, kept[f"out{i}"], ROUNDING)
            else:
                oracle.assert_same(actual, kept[f"out{i}"])
    finally:
        model.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])

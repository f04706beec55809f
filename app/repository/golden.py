"""Known answers: whether a loaded model computes on this device what it should.

`python -m app.repository.golden model.tflite` draws the part of a model.yaml that holds them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from app.backends.runtimes import RUNTIMES
from app.backends.session import Session
from app.backends.tflite import TfliteOptions, TfliteSession
from app.errors import ModelLoadFailed
from app.repository.manifest import Golden
from app.tensors import Array, TensorSpec


def ramp(spec: TensorSpec) -> Array:
    """Make an input that is the same everywhere and excites every weight a little.

    Shapes: the spec's, free dimensions 1.
    Units:  floats from 0 to 1; integers over their whole range, at most 0 to 255.
    """
    shape = [max(size, 1) for size in spec.shape]
    if spec.dtype == "bytes":
        return np.full(shape, b"a", dtype=object)
    kind = np.dtype(spec.dtype)
    steps = (np.arange(int(np.prod(shape)), dtype=np.int64) * 40503 % 65536).reshape(shape)
    if kind.kind == "b":
        return np.asarray(steps % 2 == 1)
    if kind.kind in "iu":
        low = max(np.iinfo(kind).min, -128)
        high = min(np.iinfo(kind).max, 255)
        return np.asarray(low + steps * (high - low) // 65535, kind)
    return np.asarray(steps / 65535, kind)


def inputs(session: Session, golden: Golden | None) -> dict[str, Array]:
    """Make the warm-up input of a model: the golden one where it is given, else the ramp."""
    given = golden.input if golden else {}
    made = {}
    for spec in session.inputs:
        made[spec.name] = ramp(spec)
        if spec.name in given:
            values = np.array(given[spec.name], made[spec.name].dtype)
            made[spec.name] = values.reshape(made[spec.name].shape)
    return made


def check(outputs: Mapping[str, Array], golden: Golden) -> None:
    """Compare outputs with the known answer.

    Raises: ModelLoadFailed that says which output differs, and by how much.
    """
    for name, positions in golden.positions.items():
        if name not in outputs or max(positions) >= outputs[name].size:
            raise ModelLoadFailed(f"the golden output {name!r} is not one of the model's")
        found = outputs[name].reshape(-1)[list(positions)].astype(np.float64)
        known = np.array(golden.values[name])
        wrong = float(np.max(np.abs(found - known)))
        allowed = golden.tolerance * max(float(np.ptp(known)), 1e-6)
        if not wrong <= allowed:
            raise ModelLoadFailed(
                f"output {name!r} is {wrong:g} off its golden answer; {allowed:g} is allowed"
            )


def draw(blob: bytes, count: int = 16) -> dict[str, Any]:
    """Compute on the CPU what a model answers to the ramp, at positions spread over each output.

    Units: the tolerance is a thousandth of an output's range, or 3 steps of the narrowest integers.
    """
    session = TfliteSession(blob, TfliteOptions(next(iter(RUNTIMES)), "golden"))
    drawn: dict[str, Any] = {"positions": {}, "values": {}, "tolerance": 1e-3}
    for name, array in session.run(inputs(session, None)).items():
        flat = array.reshape(-1)
        positions = np.unique(np.linspace(0, flat.size - 1, count).astype(int))
        drawn["positions"][name] = positions.tolist()
        drawn["values"][name] = [round(float(value), 6) for value in flat[positions]]
        if flat.dtype.kind in "iu":
            steps = 3 / max(float(np.ptp(flat[positions].astype(np.int64))), 1)
            drawn["tolerance"] = max(drawn["tolerance"], round(steps, 6))
    return drawn


if __name__ == "__main__":
    golden_part = {"golden": {"1": draw(Path(sys.argv[1]).read_bytes())}}
    print(yaml.safe_dump(golden_part, sort_keys=False, width=96, default_flow_style=None), end="")

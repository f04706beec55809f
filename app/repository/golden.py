"""Known answers: whether a loaded model computes on this device what it should."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.backends.session import Session
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
        wrong = float(np.max(np.abs(found - np.array(golden.values[name]))))
        if not wrong <= golden.tolerance:
            raise ModelLoadFailed(
                f"output {name!r} is {wrong:g} off its golden answer; "
                f"{golden.tolerance:g} is allowed"
            )

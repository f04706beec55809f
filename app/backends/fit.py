"""Whether arrays fit a model's inputs, and how many of the model's own batches they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from app.errors import InvalidInput
from app.tensors import Array, TensorSpec, dtype_name


def fit(specs: Sequence[TensorSpec], inputs: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
    """Give the inputs in the model's own rank, and the number of runs that they make.

    Shapes: an input may lack a batch dimension of 1, or have a multiple of the model's batch.
    Raises: InvalidInput with the expected name, shape or dtype.
    """
    if len(inputs) == len(specs) and all(_fits(spec, inputs.get(spec.name)) for spec in specs):
        return dict(inputs), 1
    known = {spec.name for spec in specs}
    missing, extra = known - inputs.keys(), inputs.keys() - known
    if missing or extra:
        raise InvalidInput(
            f"the model's inputs are {_names(known)}; missing: {_names(missing)}, "
            f"unknown: {_names(extra)}"
        )
    fitted: dict[str, Array] = {}
    runs: dict[str, int] = {}
    for spec in specs:
        fitted[spec.name], runs[spec.name] = _fit_one(spec, inputs[spec.name])
    if len(set(runs.values())) > 1:
        raise InvalidInput(
            "every input must have the same number of batches, but they have "
            + ", ".join(f"{name!r}: {count}" for name, count in runs.items())
        )
    return fitted, next(iter(runs.values()), 1)


def _fits(spec: TensorSpec, array: Array | None) -> bool:
    return (
        array is not None and array.shape == spec.shape and dtype_name(array.dtype) == spec.dtype
        and array.size > 0
    )  # fmt: skip


def wanted(spec: TensorSpec) -> str:
    """Say in words what an input should look like."""
    shape = ", ".join("any" if size < 0 else str(size) for size in spec.shape)
    more = "; the first may be a multiple" if splittable(spec) else ""
    return f"{spec.dtype} of shape [{shape}]{more}"


def splittable(spec: TensorSpec) -> bool:
    """Tell whether dimension 0 is a batch: a lone dimension is data, a free one needs no help."""
    return len(spec.shape) >= 2 and spec.shape[0] > 0


def has_batch(specs: Sequence[TensorSpec], extent: int = 1) -> bool:
    """Tell whether every tensor begins with a batch of this extent, -1 for a free one; a lone
    dimension is data."""
    return {spec.shape[0] if len(spec.shape) > 1 else 0 for spec in specs} == {extent}


def _fit_one(spec: TensorSpec, array: Array) -> tuple[Array, int]:
    expected = "object" if spec.dtype == "bytes" else spec.dtype
    if array.dtype != np.dtype(expected):
        raise _misfit(spec, array)
    if array.ndim == len(spec.shape) - 1 and spec.shape[0] in (1, -1):
        array = array[np.newaxis]
    if array.ndim != len(spec.shape) or array.size == 0:
        raise _misfit(spec, array)
    runs = 1
    for axis, (size, given) in enumerate(zip(spec.shape, array.shape, strict=True)):
        if size in (-1, given):
            continue
        if axis or not splittable(spec) or given % size:
            raise _misfit(spec, array)
        runs = given // size
    return array, runs


def _misfit(spec: TensorSpec, array: Array) -> InvalidInput:
    given = "strings" if array.dtype == object else str(array.dtype)
    empty = "" if array.size else ", which has no values"
    return InvalidInput(
        f"input {spec.name!r} must be {wanted(spec)}; got {given} of shape {list(array.shape)}"
        f"{empty}"
    )


def _names(names: set[str] | frozenset[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"

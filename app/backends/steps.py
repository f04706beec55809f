"""The steps of one request to a stateful model: see docs/stateful-models.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from app.backends.fit import fit, splittable
from app.errors import InvalidInput
from app.tensors import Array, TensorSpec, together

Arrays = Mapping[str, Array]


def has_axis(specs: Sequence[TensorSpec], inputs: Arrays) -> bool:
    """Whether every input has one dimension more than the model, for the steps."""
    own = {spec.name: len(spec.shape) + 1 for spec in specs}
    return bool(own) and own == {name: array.ndim for name, array in inputs.items()}


def steps(specs: Sequence[TensorSpec], inputs: Arrays) -> tuple[list[dict[str, Array]], bool]:
    """Cut a request into its steps; the flag tells that the steps have an axis of their own.

    Shapes: [steps, *the model's shape], or the model's own with a multiple in dimension 0.
    Raises: InvalidInput if a step does not fit the model.
    """
    if has_axis(specs, inputs):
        counts = {array.shape[0] for array in inputs.values()}
        if len(counts) != 1 or 0 in counts:
            raise InvalidInput("every input must have the same number of steps, at least one; "
                               f"they have {sorted(counts)}")
        parts = [{name: np.asarray(a[i]) for name, a in inputs.items()}
                 for i in range(counts.pop())]
        return [_one(specs, part) for part in parts], True
    arrays, runs = fit(specs, inputs)
    return [{name: a[i * (a.shape[0] // runs):(i + 1) * (a.shape[0] // runs)] if runs > 1 else a
             for name, a in arrays.items()} for i in range(runs)], False


def joined(specs: Sequence[TensorSpec], results: Sequence[Arrays],
           stacked: bool) -> dict[str, Array]:
    """Put the outputs of all steps behind each other.

    Shapes: a steps axis in front where the request had one, or the output has no batch.
    Raises: InvalidInput if those of one output differ in shape.
    """
    if len(results) == 1 and not stacked:
        return dict(results[0])
    batches = {spec.shape[0] for spec in specs if splittable(spec)}
    made = {}
    for name, first in results[0].items():
        parts = [result[name] for result in results]
        flat = not stacked and first.ndim >= 1 and first.shape[0] in batches
        made[name] = together(parts, flat)
    return made


def _one(specs: Sequence[TensorSpec], part: Arrays) -> dict[str, Array]:
    arrays, runs = fit(specs, part)
    if runs != 1:
        raise InvalidInput("a step of a stateful model must have the model's own shape")
    return arrays

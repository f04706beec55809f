"""The TFLite runtime that runs what the device does not: one interpreter of one sub-model."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.engine.ir import Data
from app.errors import InvalidInput, UnsupportedOp

# The successor first: it knows more operations and is faster with small integers.
MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


class Interpreter:
    """A sub-model, ready to run; keeps state tensors until reset. Not thread-safe.

    Raises: UnsupportedOp if no runtime that is installed takes it.
    """

    def __init__(self, blob: bytes) -> None:
        self._native = _open(blob)
        try:
            self._inputs = self._native.get_input_details()
            self._outputs = self._native.get_output_details()
        except ValueError as error:
            # numpy has no bfloat16, and none of eight bits.
            raise UnsupportedOp(f"a type of number that does not leave the runtime: {error}"
                                ) from error
        self._shapes = [tuple(int(e) for e in d["shape"]) for d in self._inputs]

    def run(self, arrays: Sequence[Data]) -> list[Data]:
        """Run once; arrays of another shape than the last ones resize the sub-model.

        Raises: InvalidInput if the runtime cannot compute these values.
        """
        try:
            return self._run(arrays)
        except (ValueError, RuntimeError) as error:
            raise InvalidInput(f"the CPU cannot compute this part of the model: {error}") from error

    def _run(self, arrays: Sequence[Data]) -> list[Data]:
        native = self._native
        shapes = [tuple(a.shape) for a in arrays]
        if shapes != self._shapes:
            for detail, shape in zip(self._inputs, shapes, strict=True):
                native.resize_tensor_input(detail["index"], shape, strict=False)
            native.allocate_tensors()
            self._shapes = shapes
        for detail, array in zip(self._inputs, arrays, strict=True):
            # The runtimes refuse to be given nothing, though they compute with it.
            if array.size:
                native.set_tensor(detail["index"], np.asarray(array, order="C"))
        native.invoke()
        return results(native, self._outputs)

    def output_shapes(self) -> list[tuple[int, ...]] | None:
        """The shapes of the outputs; None if one is known only after a run."""
        try:
            for detail in self._outputs:
                self._native.get_tensor(detail["index"])
        except ValueError:
            # Memory of a dynamic tensor is made while it is computed.
            return None
        return [tuple(int(e) for e in d["shape"]) for d in self._native.get_output_details()]

    def reset(self) -> None:
        """Give state tensors their first values again."""
        self._native.reset_all_variables()


def results(native: Any, details: Sequence[Mapping[str, Any]]) -> list[Data]:
    """The outputs of a runtime's interpreter, which ran; empty ones too, which it does not give.

    Raises: ValueError if there is no output yet.
    """
    found: list[Data] = []
    for position, detail in enumerate(details):
        try:
            found.append(native.get_tensor(detail["index"]))
        except ValueError:
            # What has no elements has no memory.
            shape = tuple(int(e) for e in native.get_output_details()[position]["shape"])
            if 0 not in shape:
                raise
            found.append(np.empty(shape, detail["dtype"]))
    return found


def installed(module: str) -> bool:
    """Whether a runtime is there, and not only the schema that one of them brings."""
    package = module.split(".")[0]
    return (importlib.util.find_spec(package) is not None
            and importlib.util.find_spec(module) is not None)


def _open(blob: bytes) -> Any:
    reasons = []
    for name in MODULES:
        if not installed(name):
            continue
        try:
            native = importlib.import_module(name).Interpreter(model_content=blob, num_threads=1)
            native.allocate_tensors()
            return native
        except (ValueError, RuntimeError) as error:
            reasons.append(" ".join(str(error).split()))
    raise UnsupportedOp(reasons[0] if reasons else "no TFLite runtime is installed")

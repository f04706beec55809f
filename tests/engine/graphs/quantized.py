"""Small graphs of floats as graphs of int8, with the ranges that their values have on one input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tests.engine.builder import AlignedBuilder
from tests.engine.opwise import NAMES, constant, judge
from tests.engine.oracle import Array

Params = tuple[float, int]
# Ops whose results have the scale of what they are made of.
# Source: TFLite's quantisation specification.
SAME = {
    "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "PAD", "PADV2",
    "MIRROR_PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "CONCATENATION", "SPLIT", "SPLIT_V", "PACK",
    "UNPACK", "GATHER", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TILE", "REVERSE_V2",
    "MAXIMUM", "MINIMUM", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "BATCH_TO_SPACE_ND",
    "SPACE_TO_BATCH_ND", "SELECT_V2", "REDUCE_MAX", "REDUCE_MIN",
}
FIXED: dict[str, Params] = {
    "SOFTMAX": (1 / 256, -128), "LOG_SOFTMAX": (16 / 256, 127), "LOGISTIC": (1 / 256, -128),
    "TANH": (1 / 128, 0), "L2_NORMALIZATION": (1 / 128, 0),
}
# The axis of the weights that has a scale for each place; None for one scale in all.
WEIGHTS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0, "FULLY_CONNECTED": None}


class Conflict(Exception):
    """Two ops want different scales of one value."""


def quantized(blob: bytes, inputs: Sequence[Array]) -> bytes:
    """Give the same model for int8, inputs and outputs included.

    Raises: Conflict.
    """
    return _Quantizer(blob, inputs).model()


class _Quantizer:
    def __init__(self, blob: bytes, inputs: Sequence[Array]) -> None:
        self._model = schema.ModelT.InitFromPackedBuf(bytearray(blob), 0)
        self._graph = self._model.subgraphs[0]
        self._judge = judge(blob, list(inputs))
        self._like = list(range(len(self._graph.tensors)))
        self._fixed: dict[int, Params] = {}
        self._found: dict[int, tuple[float, float]] = {}

    def model(self) -> bytes:
        for name, operator in self._ops():
            self._tie(name, operator)
        self._found = self._ranges()
        for index, tensor in enumerate(self._graph.tensors):
            if tensor.type == schema.TensorType.FLOAT32 and not constant(self._model, tensor):
                self._set(tensor, [self._params(index)])
        for name, operator in self._ops():
            self._constants(name, operator)
        builder = AlignedBuilder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _ops(self) -> Iterator[tuple[str, Any]]:
        for operator in self._graph.operators:
            code = self._model.operatorCodes[operator.opcodeIndex]
            yield NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)], operator

    def _floats(self, indices: Sequence[int]) -> list[int]:
        return [int(i) for i in indices
                if i >= 0 and self._graph.tensors[i].type == schema.TensorType.FLOAT32]

    def _tie(self, name: str, operator: Any) -> None:
        if name in FIXED:
            self._fix(self._root(operator.outputs[0]), FIXED[name])
        if name in SAME:
            first, *rest = self._floats([*operator.inputs, *operator.outputs])
            for other in rest:
                a, b = self._root(first), self._root(other)
                if a != b:
                    self._like[b] = a
                    if b in self._fixed:
                        self._fix(a, self._fixed.pop(b))

    def _root(self, index: int) -> int:
        while self._like[index] != index:
            index = self._like[index]
        return index

    def _fix(self, root: int, params: Params) -> None:
        if self._fixed.setdefault(root, params) != params:
            raise Conflict(f"{self._fixed[root]} and {params}")

    def _params(self, index: int) -> Params:
        root = self._root(index)
        return self._fixed.get(root) or _params(*self._found[root])

    def _ranges(self) -> dict[int, tuple[float, float]]:
        found: dict[int, tuple[float, float]] = {}
        for index, tensor in enumerate(self._graph.tensors):
            if tensor.type == schema.TensorType.FLOAT32:
                data = self._data(tensor) if constant(self._model, tensor) else (
                    self._judge.get_tensor(index))
                low, high = found.get(self._root(index), (0.0, 0.0))
                found[self._root(index)] = (min(low, float(data.min())),
                                            max(high, float(data.max())))
        return found

    def _data(self, tensor: Any) -> NDArray[np.float32]:
        raw = np.asarray(self._model.buffers[tensor.buffer].data, np.uint8)
        return np.frombuffer(raw.tobytes(), "f4").reshape(tensor.shape)

    def _constants(self, name: str, operator: Any) -> None:
        """Make integers of an op's constants, each for it alone."""
        own = [(place, int(i)) for place, i in enumerate(operator.inputs)
               if int(i) in self._floats([i]) and constant(self._model, self._graph.tensors[i])]
        scales: list[float] = []
        for place, index in own:
            source = self._graph.tensors[index]
            data, made = self._data(source), schema.TensorT(**vars(source))
            if name in WEIGHTS and place == 1:
                scales = self._weights(made, data, WEIGHTS[name])
            elif name in WEIGHTS and place == 2:
                given = self._graph.tensors[operator.inputs[0]].quantization.scale[0]
                steps = np.array(scales) * given
                self._fill(made, np.rint(data / steps).astype("i4"), schema.TensorType.INT32)
                made.quantization = _quantization([(float(s), 0) for s in steps])
            else:
                params = self._params(index)
                self._fill(made, _steps(data, params), schema.TensorType.INT8)
                made.quantization = _quantization([params])
            self._graph.tensors.append(made)
            self._like.append(len(self._like))
            operator.inputs[place] = len(self._graph.tensors) - 1

    def _weights(self, made: Any, data: NDArray[np.float32], axis: int | None) -> list[float]:
        others = tuple(i for i in range(data.ndim) if i != axis)
        most = np.abs(data).max(axis=others if axis is not None else None, keepdims=True)
        steps = np.maximum(most, 1e-3) / 127
        self._fill(made, np.rint(data / steps).astype("i1"), schema.TensorType.INT8)
        scales = [float(s) for s in steps.reshape(-1)]
        made.quantization = _quantization([(s, 0) for s in scales], axis or 0)
        return scales

    def _fill(self, tensor: Any, data: Array, kind: int) -> None:
        self._model.buffers.append(schema.BufferT(data=np.frombuffer(data.tobytes(), np.uint8)))
        tensor.buffer, tensor.type = len(self._model.buffers) - 1, kind

    def _set(self, tensor: Any, params: Sequence[Params]) -> None:
        tensor.type, tensor.quantization = schema.TensorType.INT8, _quantization(params)


def _params(low: float, high: float) -> Params:
    low, high = min(low, 0.0), max(high, 0.0)
    # Sums that lie tens of thousands of tiny steps beyond the range wrap in ai-edge-litert's ADD.
    scale = (high - low if high - low > 1e-3 else 1.0) / 255
    return scale, int(np.clip(np.rint(-128 - low / scale), -128, 127))


def _steps(data: NDArray[np.float32], params: Params) -> NDArray[np.int8]:
    return np.clip(np.rint(data / params[0]) + params[1], -128, 127).astype("i1")


def _quantization(params: Sequence[Params], axis: int = 0) -> Any:
    return schema.QuantizationParametersT(
        scale=np.array([p[0] for p in params], "f4"),
        zeroPoint=np.array([p[1] for p in params], "i8"), quantizedDimension=axis)

"""A graph on its way from integers to the floats that hold them: see passes.quantize."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.engine.ir import Data, Node, Tensor
from app.tensors import along

INTEGERS = {"int8", "uint8", "int16", "int4", "int2"}


def is_quantised(tensor: Tensor | None) -> bool:
    """Whether a tensor holds integers that stand for reals."""
    return (tensor is not None and tensor.dtype in INTEGERS and tensor.quant is not None
            and len(tensor.quant.scales) > 0)


@dataclass
class Lowering:
    """A graph being rewritten: which tensors exist as integers (raw) and which as floats."""

    raw: set[Tensor]
    nodes: list[Node] = field(default_factory=list)
    floats: dict[Tensor, Tensor] = field(default_factory=dict)
    index: int = -1
    # Float forms of constants, kept from plan to plan: (tensor, which form).
    constants: dict[tuple[Tensor, str], Tensor] = field(default_factory=dict)

    def _constant(self, tensor: Tensor, form: str) -> Tensor:
        key = (tensor, form)
        if key not in self.constants:
            data = centred_data(tensor) if form == "centred" else _dequantised_data(tensor)
            self.constants[key] = Tensor(tensor.name, tensor.shape, "float32", data)
        return self.constants[key]

    def emit(self, op: str, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
             options: Any = None) -> None:
        """Append a node that stands for (a part of) the present one."""
        self.nodes.append(Node(op, tuple(inputs), tuple(outputs), options or {},
                               index=self.index))

    def centred(self, tensor: Tensor) -> Tensor:
        """The float tensor that holds q - zero_point."""
        if tensor not in self.floats:
            if tensor.data is not None:
                return self._constant(tensor, "centred")
            self.floats[tensor] = fresh(tensor)
            self.emit("LOAD_QUANTIZED", (tensor,), (self.floats[tensor],),
                      {"offset": -zero_point(tensor)})
        return self.floats[tensor]

    def real(self, tensor: Tensor) -> Tensor:
        """The float tensor of the numbers that the integers stand for."""
        if not is_quantised(tensor):
            return tensor
        if tensor.data is not None:
            return self._constant(tensor, "real")
        made = fresh(tensor)
        self.emit("SCALE", (self.centred(tensor),), (made,), {"s": scale(tensor)})
        return made

    def integers(self, tensor: Tensor) -> Tensor:
        """The tensor as the file has it."""
        if tensor in self.floats and tensor not in self.raw and tensor.data is None:
            self.emit("STORE_QUANTIZED", (self.floats[tensor],), (tensor,),
                      {"offset": zero_point(tensor)})
            self.raw.add(tensor)
        return tensor

    def result(self, tensor: Tensor) -> Tensor:
        """A new float tensor for the integers of an output."""
        self.floats[tensor] = fresh(tensor)
        return self.floats[tensor]

    def requant(self, x: Tensor, y: Tensor, factor: float | Data, activation: str = "NONE") -> None:
        """Round x * factor to y's integers and clamp them."""
        low, high = bounds(y, activation)
        options = {"lo": low, "hi": high}
        factors = np.asarray(factor, np.float32)
        if factors.size == 1:
            options["s"] = float(factors.reshape(-1)[0])
            self.emit("REQUANT", (x,), (self.result(y),), options)
        else:
            channels = Tensor(f"{y.name}/scales", factors.shape, "float32", factors)
            self.emit("REQUANT_CHANNELS", (x, channels), (self.result(y),), options)


def fresh(tensor: Tensor) -> Tensor:
    """A float tensor of the same shape."""
    return Tensor(tensor.name, tensor.shape, "float32")


def scale(tensor: Tensor) -> float:
    """The scale of a tensor that has one."""
    assert tensor.quant is not None
    return tensor.quant.scales[0]


def ratio(x: Tensor | None, y: Tensor) -> float:
    """Steps of y in one step of x (in 1.0 without x), in float32 as TFLite has it."""
    return float(np.float32(1.0 if x is None else scale(x)) / np.float32(scale(y)))


def zero_point(tensor: Tensor) -> int:
    """The integer that stands for 0.0 in a tensor that has one for all channels."""
    assert tensor.quant is not None
    return tensor.quant.zero_points[0]


def _dequantised_data(tensor: Tensor) -> Data:
    assert tensor.quant is not None
    data = centred_data(tensor)
    real: Data = data * along(tensor.quant.scales, tensor.quant, data.shape).astype(np.float32)
    return real


def centred_data(tensor: Tensor) -> Data:
    """q - zero_point of a constant, as floats."""
    assert tensor.quant is not None
    assert tensor.data is not None
    zeros = along(tensor.quant.zero_points, tensor.quant, tensor.data.shape)
    centred: Data = tensor.data.astype(np.float32) - zeros.astype(np.float32)
    return centred


def bounds(y: Tensor, activation: str) -> tuple[float, float]:
    """The smallest and largest q - zero_point that a type and an activation allow."""
    limits = np.iinfo(y.dtype)
    zero, step = zero_point(y), scale(y)
    low, high = float(limits.min - zero), float(limits.max - zero)
    first, last = CLAMPS.get(activation, (-np.inf, np.inf))
    if first > -np.inf:
        low = max(low, float(np.rint(first / step)))
    if last < np.inf:
        high = min(high, float(np.rint(last / step)))
    return low, high


CLAMPS = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0),
          "RELU_0_TO_1": (0.0, 1.0)}


def keep(low: Lowering, node: Node) -> None:
    """Leave a node on the integers of the file."""
    for tensor in node.inputs:
        if tensor is not None and is_quantised(tensor):
            low.integers(tensor)
    low.nodes.append(node)
    low.raw.update(node.outputs)


def by_reals(low: Lowering, node: Node) -> None:
    """Compute on real numbers and round the results: right for any float operation."""
    inputs = [None if t is None else low.real(t) for t in node.inputs]
    outputs = [fresh(t) if is_quantised(t) else t for t in node.outputs]
    low.emit(node.op, inputs, outputs, node.options)
    for tensor, made in zip(node.outputs, outputs, strict=True):
        if made is not tensor:
            low.requant(made, tensor, ratio(None, tensor))

"""Constants of recurrent layers as the floats, or rows of integers, that kernels multiply by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.engine.ir import Data, Tensor
from app.engine.passes.integers import centred_data, is_quantised
from app.tensors import Quantization


def floats(name: str, extents: Sequence[int]) -> Tensor:
    """What a node will compute."""
    return Tensor(name, tuple(extents), "float32")


def constant(name: str, data: Data) -> Tensor:
    """A constant of float32."""
    return Tensor(name, data.shape, "float32", data.astype(np.float32))


def diagonal(tensor: Tensor) -> Tensor:
    """The matrix that has a constant vector's numbers on its diagonal, and zeros beside it."""
    assert tensor.data is not None
    return replace(tensor, shape=tensor.shape * 2, data=np.diag(tensor.data))


def reals(tensor: Tensor, *factors: Tensor | None) -> Data:
    """The numbers that a constant stands for; integers without steps have the factors' product."""
    assert tensor.data is not None
    if tensor.dtype == "float32":
        return tensor.data
    if not factors and is_quantised(tensor) and tensor.quant is not None:
        return centred_data(tensor) * np.float32(tensor.quant.scales[0])
    step = np.prod([np.float32(t.quant.scales[0]) for t in factors if t and t.quant])
    real: Data = tensor.data.astype(np.float32) * np.float32(step)
    return real


def joined(name: str, parts: Sequence[Tensor], dtype: str = "float32") -> Tensor:
    """Several constants one after the other: as real numbers, or as the int32 that they hold."""
    read = [reals(t) if dtype == "float32" else t.data for t in parts]
    data: Data = np.concatenate([d for d in read if d is not None])
    return Tensor(name, data.shape, dtype, data)


def joined_integers(name: str, parts: Sequence[Tensor]) -> Tensor:
    """int8 rows of several matrices, each row with its own steps."""
    data: Data = np.concatenate([t.data for t in parts if t.data is not None])
    scales = tuple(s for t in parts if t.quant is not None
                   for s in (t.quant.scales * t.shape[0])[:t.shape[0]])
    return Tensor(name, data.shape, "int8", data, Quantization(scales, (0,) * len(scales)))

"""What a model's input or output looks like: shared by the engine, the backends and the API."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput

Array = NDArray[np.generic]


@functools.cache
def dtype_name(dtype: np.dtype[Any]) -> str:
    """Give a dtype's name, which numpy would put together each time."""
    return dtype.name


# What the two parts of complex numbers are.
PARTS = {"complex64": "float32", "complex128": "float64"}


def pairs(array: Array) -> Array:
    """Give complex numbers as pairs of floats, which is how JSON carries them.

    Shapes: [...] -> [..., 2].
    """
    parts: Array = np.ascontiguousarray(array).view(PARTS[dtype_name(array.dtype)])
    return parts.reshape(*array.shape, 2)


def together(parts: Sequence[Array], by_row: bool) -> Array:
    """Put the results of several runs behind each other by their rows, or else stack them.

    Raises: InvalidInput where each has its own shape: how large it is, data decides.
    """
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        some = " and ".join(str(list(shape)) for shape in sorted(shapes)[:2])
        raise InvalidInput(
            f"the examples of this request get results of different shapes, {some}; send each in "
            "a request of its own"
        )
    return np.concatenate(parts) if by_row else np.stack(parts)


@dataclass(frozen=True, slots=True)
class Quantization:
    """Affine quantisation: real = scale * (quantised - zero_point).

    Shapes: scales [1] per tensor or [channels] per channel; zero_points likewise. With block,
            which only weights have, one for each so many numbers of a row, row by row.
    Source: https://ai.google.dev/edge/litert/models/quantization_spec
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0
    block: int = 0


def along(values: Sequence[float], quant: Quantization, shape: tuple[int, ...]) -> NDArray[Any]:
    """Scales or zero points of a tensor, laid out so that they broadcast over its numbers."""
    if quant.block:
        return np.repeat(np.asarray(values), quant.block).reshape(shape)
    spread = [1] * len(shape)
    if len(values) > 1:
        spread[quant.axis] = len(values)
    return np.asarray(values).reshape(spread)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and type of one input or output.

    Shapes: shape uses -1 for a dimension that the caller may choose.
    Units:  dtype is a numpy dtype name ("float32", "int8", ...); "bytes" for TFLite strings.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = field(default=None)

    def describe(self) -> dict[str, Any]:
        """Give what JSON can carry."""
        quantization = self.quantization
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "quantization": quantization
            and {
                "scales": list(quantization.scales),
                "zero_points": list(quantization.zero_points),
                "axis": quantization.axis,
            },
        }

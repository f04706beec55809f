"""Spectra as products of rows and a matrix: of any length, and back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from app.engine.ir import Data, Launch, Node, Tensor
from app.engine.ops.conv import Geometry, conv_launch
from app.engine.ops.window import Axis
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

# The longest row of reals whose spectrum is a product: its matrix takes 4 MB. Of complex numbers
# half as many take as much.
LONGEST = 1024
# Of rows of complex numbers to such rows: the sign of the angle.
WHOLE = {"FFT": -1, "IFFT": 1}


def product(node: Node, matrix: Tensor, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the rows of input 0 times a matrix; complex numbers are pairs of floats.

    Shapes: x [..,K], matrix [N,K] as floats -> y [..,N].
    """
    x, y = node.input(0), node.outputs[0]
    outputs, given = matrix.shape
    require(given > 0, f"{node.op} of rows without numbers has no kernel")
    one, rows = Axis(1, 1, 1, 1, 0, 0, 1), x.size // max(x.shape[-1], 1)
    inner = Node("FULLY_CONNECTED", (x, matrix), (y,), index=node.index)
    return conv_launch(inner, profile, Geometry(1, given, outputs, 1, one,
                                                Axis(rows, 1, 1, 1, 0, 0, rows)))


@lru_cache(8)
def of_reals(length: int, given: int) -> Tensor:
    """What makes given numbers, cut or filled with zeros to a length, their spectrum.

    Shapes: [2*bins, given]: real and imaginary parts by turns, as complex numbers lie in memory.
    """
    angles = np.outer(np.arange(length // 2 + 1), np.arange(given)) % length * (2 * np.pi / length)
    rows = np.stack([np.cos(angles), -np.sin(angles)], 1).reshape(-1, given)
    rows[:, length:] = 0
    return Tensor("", rows.shape, "float32", rows.astype(np.float32))


@lru_cache(8)
def to_reals(length: int, given: int) -> Tensor:
    """What makes the given first numbers of a spectrum, cut or filled with zeros, the row it is of.

    Shapes: [length, 2*given].
    """
    bins = length // 2 + 1
    angles = np.outer(np.arange(length), np.arange(given)) % length * (2 * np.pi / length)
    # All but the first and the middle one stand for two.
    weights = np.full(given, 2.0)
    weights[:1] = 1
    weights[bins:] = 0
    alone = np.ones(given)
    alone[:1] = 0
    if length % 2 == 0 and bins <= given:
        weights[bins - 1] = min(weights[bins - 1], 1)
        alone[bins - 1] = 0
    rows = np.stack([np.cos(angles), -np.sin(angles) * alone], 2) * weights[:, None] / length
    return Tensor("", (length, 2 * given), "float32",
                  rows.reshape(length, -1).astype(np.float32))


@lru_cache(8)
def of_pairs(length: int, sign: int) -> Tensor:
    """What makes complex numbers their spectrum, or the other way round.

    Shapes: [2*length, 2*length].
    """
    places = np.arange(length)
    turns = np.exp(sign * 2j * np.pi / length * (np.outer(places, places) % length))
    if sign > 0:
        turns /= length
    rows = np.stack([np.stack([turns.real, -turns.imag], -1),
                     np.stack([turns.imag, turns.real], -1)], 1)
    return Tensor("", (2 * length,) * 2, "float32",
                  rows.reshape(2 * length, -1).astype(np.float32))


def _length(node: Node) -> int:
    data = node.input(1).data
    require(data is not None, f"{node.op} of a computed length has no kernel")
    assert data is not None
    return int(data.reshape(-1)[0])


@shape("IRFFT")
def row_shape(node: Node) -> Sequence[Shape]:
    """[..,bins] -> [..,length].

    Raises: ValueError without an axis of bins, or for a length that is none.
    """
    x, length = node.input(0).shape, _length(node)
    if not x or length < 1:
        raise ValueError(f"rows of {length} from a spectrum of shape {x}")
    return [(*x[:-1], length)]


@op("IRFFT")
def row(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the rows of reals that spectra are of.

    Shapes: x [..,bins] complex64, length [1] -> y [..,length] float32.
    Raises: UnsupportedOp unless the length is constant and at most 1024.
    Source: TensorFlow's IRFFT.
    """
    x, y, length = node.input(0), node.outputs[0], _length(node)
    require(x.dtype == "complex64", f"IRFFT of {x.dtype} has no kernel")
    require(length <= LONGEST, f"IRFFT of rows of {length} has no kernel")
    if not y.size:
        return []
    return product(node, to_reals(length, x.shape[-1]), profile)


@shape(*WHOLE)
def whole_shape(node: Node) -> Sequence[Shape]:
    """Output as input.

    Raises: ValueError if x is one number.
    """
    if not node.input(0).shape:
        raise ValueError("one number has no spectrum")
    return [node.input(0).shape]


@op(*WHOLE)
def whole(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the spectra of rows of complex numbers, or the rows that spectra are of.

    Shapes: x, y [..,N] complex64.
    Raises: UnsupportedOp for rows of more than 512 numbers.
    Source: TensorFlow's FFT, IFFT.
    """
    x, y = node.input(0), node.outputs[0]
    require(x.dtype == "complex64", f"{node.op} of {x.dtype} has no kernel")
    if not y.size:
        return []
    require(2 * x.shape[-1] <= LONGEST, f"{node.op} of rows of {x.shape[-1]} has no kernel")
    return product(node, of_pairs(x.shape[-1], WHOLE[node.op]), profile)


@host("IRFFT", *WHOLE)
def on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy, of any length."""
    x, kind = arrays[0], node.outputs[0].dtype
    assert x is not None
    if not x.size:
        return [np.zeros(node.outputs[0].shape, kind)]
    if node.op == "IRFFT":
        return [np.fft.irfft(x, _length(node)).astype(kind)]
    return [(np.fft.fft if node.op == "FFT" else np.fft.ifft)(x).astype(kind)]

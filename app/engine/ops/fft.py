"""Spectra of real signals, and what is read off complex numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from app.engine.ir import Arg, Const, Data, Launch, Local, Node, Scratch, Tensor
from app.engine.ops.cast import TYPES
from app.engine.ops.conv import Geometry, conv_launch
from app.engine.ops.tiles import lanes
from app.engine.ops.typed import map_launch
from app.engine.ops.window import Axis
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

i32 = np.int32
PARTS = {"REAL": "p.x", "IMAG": "p.y", "COMPLEX_ABS": "length(p)"}
# Work-items that share a row on a GPU.
GROUP = 64
PAIR_BYTES = 8


# The longest row whose spectrum is a product: its matrix takes 4 MB.
MATRIX = 1024


def _lengths(node: Node) -> tuple[int, int]:
    data = node.input(1).data
    require(data is not None, f"{node.op} of a computed length has no kernel")
    assert data is not None
    height, width = (int(e) for e in data.reshape(-1))
    return height, width


@host("RFFT2D")
def rfft_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy, for lengths that neither a kernel nor TFLite knows."""
    assert arrays[0] is not None
    return [np.fft.rfft2(arrays[0], _lengths(node)).astype(np.complex64)]


def _by_matrix(node: Node, profile: DeviceProfile, length: int) -> Sequence[Launch]:
    x, y = node.input(0), node.outputs[0]
    given, outputs = x.shape[-1], 2 * (length // 2 + 1)
    one, rows = Axis(1, 1, 1, 1, 0, 0, 1), x.size // max(given, 1)
    require(given > 0, "RFFT2D of rows without numbers has no kernel")
    inner = Node("FULLY_CONNECTED", (x, _matrix(length, given)), (y,), index=node.index)
    return conv_launch(inner, profile, Geometry(1, given, outputs, 1, one,
                                                Axis(rows, 1, 1, 1, 0, 0, rows)))


@lru_cache(8)
def _matrix(length: int, given: int) -> Tensor:
    """What makes given numbers, cut or filled with zeros to a length, their spectrum.

    Shapes: [2*bins, given]: real and imaginary parts by turns, as complex numbers lie in memory.
    """
    angles = np.outer(np.arange(length // 2 + 1), np.arange(given)) % length * (2 * np.pi / length)
    rows = np.stack([np.cos(angles), -np.sin(angles)], 1).reshape(-1, given)
    rows[:, length:] = 0
    return Tensor("", rows.shape, "float32", rows.astype(np.float32))


@shape("RFFT2D")
def rfft_shape(node: Node) -> Sequence[Shape]:
    """[...,H,W] -> [...,height,width/2+1].

    Raises: ValueError if there are fewer than two dimensions.
    """
    height, width = _lengths(node)
    x = node.input(0).shape
    if len(x) < 2:
        raise ValueError(f"{x} has no rows and columns")
    return [(*x[:-2], height, width // 2 + 1)]


@op("RFFT2D")
def rfft(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the spectrum of the rows, then that of the columns where there are several.

    Shapes: x [...,H,W] float32, lengths [2] -> y [...,height,width/2+1] complex64.
    Raises: UnsupportedOp unless the lengths are powers of two that fit into local memory, or there
            is one row of which the spectrum is a product.
    Source: TFLite kernels/rfft2d.cc, which allows only powers of two.
    """
    x, y = node.input(0), node.outputs[0]
    height, width = _lengths(node)
    require(x.dtype == "float32", f"RFFT2D of {x.dtype} has no kernel")
    even = all(n > 0 and not n & (n - 1) for n in (height, width)) and width > 1
    alone = height == 1 and x.shape[-2] == 1 and 0 < width <= MATRIX
    require(even or alone, f"RFFT2D of {height}x{width} has no kernel")
    if not y.size:
        return []
    if not even:
        return _by_matrix(node, profile, width)
    bins = width // 2 + 1
    count = y.size // (height * bins)
    given = x.shape[-2:]
    middle: Arg = y if height == 1 else Scratch(y.nbytes)
    vector, local = _share(profile, count * height, width // 2)
    launches = [Launch(
        "fft", "fft_rows", (x, middle, _roots(node, width), local,
                        *map(i32, (count * height, height, *given, width, _bits(width // 2)))),
        (-(-count * height // vector) * _group(profile),), (_group(profile),), {"VW": vector},
        5 * count * height * width * _bits(width) // 2)]
    if height > 1:
        vector, local = _share(profile, bins, height)
        launches.append(Launch(
            "fft", "fft_columns", (middle, y, _roots(node, height), local,
                               *map(i32, (height, bins, _bits(height)))),
            (-(-bins // vector) * _group(profile), count), (_group(profile), 1), {"VW": vector},
            5 * count * bins * height * _bits(height)))
    return launches


def _group(profile: DeviceProfile) -> int:
    return 1 if profile.is_cpu else GROUP


def _share(profile: DeviceProfile, rows: int, points: int) -> tuple[int, Local]:
    """Rows that a work-group does side by side, and the local memory for them.

    Raises: UnsupportedOp if not even one fits.
    """
    vector = lanes(profile, rows) if profile.is_cpu else 1
    while vector > 1 and vector * points * PAIR_BYTES > profile.local_bytes:
        vector //= 2
    needed = vector * points * PAIR_BYTES
    require(needed <= profile.local_bytes,
            f"a spectrum of {points} points needs {needed} bytes of local memory; "
            f"there are {profile.local_bytes}")
    return vector, Local(needed)


def _bits(count: int) -> int:
    return count.bit_length() - 1


def _roots(node: Node, order: int) -> Const:
    """exp(-2 pi i m / order) for m up to half of the circle, as pairs."""
    def pack(_: Data) -> Data:
        angle = -2 * np.pi * np.arange(order // 2 + 1) / order
        # Quarters of a circle are exact: zeros stay zeros.
        pairs: Data = np.stack([np.cos(angle), np.sin(angle)], -1).round(15)
        return pairs.astype(np.float32)

    return Const(node.input(1), f"roots of order {order}", pack)


@shape(*PARTS)
def part_shape(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@op(*PARTS)
def part(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = the real part, the imaginary part or the length of each number."""
    x: Tensor = node.input(0)
    require(x.dtype == "complex64", f"{node.op} of {x.dtype} has no kernel")
    return map_launch(node, (x,), PARTS[node.op], profile,
                      types={**TYPES, "complex64": "float2"})

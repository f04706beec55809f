"""Spectra of real signals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Arg, Const, Data, Launch, Local, Node, Scratch
from app.engine.ops.spectra import LONGEST, of_reals, product
from app.engine.ops.tiles import lanes
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

i32 = np.int32
# Work-items that share a row on a GPU.
GROUP = 64
PAIR_BYTES = 8


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
    alone = height == 1 and x.shape[-2] == 1 and 0 < width <= LONGEST
    require(even or alone, f"RFFT2D of {height}x{width} has no kernel")
    if not y.size:
        return []
    if not even:
        return product(node, of_reals(width, x.shape[-1]), profile)
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

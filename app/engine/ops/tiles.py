"""Which register tile a kernel gets: by device shape and extents."""

from __future__ import annotations

from dataclasses import dataclass

from app.engine.ops.window import Axis
from app.engine.profile import DeviceProfile


@dataclass(frozen=True, slots=True)
class Tile:
    """rows pixels x panels x lanes outputs in the registers of one work-item."""

    rows: int
    panels: int
    lanes: int


def lanes(profile: DeviceProfile, extent: int) -> int:
    """Floats in one vector over an axis of extent elements: never more than there are.

    Prefers 8 to 16 where 16 would compute the tail twice.
    """
    width = min(profile.vector, 16)
    while width > extent:
        width //= 2
    if width == 16 and 0 < extent % 16 <= 8 and extent < 64:
        width = 8
    return max(width, 1)


# Rows by panels, measured on PoCL: 14 to 16 vectors of accumulators hide the latency of v_fma.
CPU_TILES = {1: (14, 12, 8, 7, 6, 4, 3, 2, 1), 2: (8, 7, 6, 5, 4, 3, 2, 1), 4: (3, 2, 1)}


def dense_tile(profile: DeviceProfile, pixels: int, outputs: int) -> Tile:
    """The tile of a GEMM-like kernel with pixels in a row and outputs columns."""
    width = lanes(profile, outputs)
    panels = -(-outputs // width)
    best = Tile(1, 1, width)
    score = float("inf")
    for count, choices in CPU_TILES.items():
        if count > panels:
            continue
        for rows in choices:
            if rows > max(pixels, 1):
                continue
            cost = _cost(max(pixels, 1), panels, rows, count)
            if cost < score:
                best, score = Tile(rows, count, width), cost
    return best


def _cost(pixels: int, panels: int, rows: int, count: int) -> float:
    tiles = -(-pixels // rows) * -(-panels // count)
    products = rows * count
    # A step costs its products, or its loads where there are too few products to hide them,
    # or the latency of the accumulators.
    return tiles * (max(products, 8.0) + 0.35 * (rows + 2 * count))


def depthwise_tile(profile: DeviceProfile, columns: Axis, channels: int) -> tuple[int, int]:
    """Lanes and pixels of a depthwise run, so that accumulators and inputs fit the registers."""
    width = lanes(profile, channels)
    room = 24 if width <= 8 else 22
    for run in (8, 7, 6, 5, 4, 3, 2):
        span = (run - 1) * columns.stride + columns.reach
        if run <= columns.inner and run + span <= room:
            return width, run
    return width, 1

"""Which register tile a kernel gets: by device shape and extents."""

from __future__ import annotations

from dataclasses import dataclass

from app.engine.ops.window import Axis
from app.engine.profile import DeviceProfile

# What one work-item shall do at least, so that starting it costs nothing (0.1 us on PoCL).
CHUNK_FLOPS = 200_000


@dataclass(frozen=True, slots=True)
class Tile:
    """rows pixels x panels x lanes outputs in the registers of one work-item."""

    rows: int
    panels: int
    lanes: int


def spread(profile: DeviceProfile, size: tuple[int, ...]
           ) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, str | int]]:
    """Global size, local size and defines of a launch whose items are independent.

    GPUs take the first two axes as one (FLAT in common.h): a short axis leaves no lane idle.
    """
    if profile.is_cpu:
        return size, (1,) * len(size), {}
    return ((size[0] * size[1], 1, *size[2:]), (profile.group, *(1,) * (len(size) - 1)),
            {"FLAT": 1})


def lanes(profile: DeviceProfile, extent: int) -> int:
    """Floats in one vector over an axis of extent elements: never more than there are.

    Prefers 8 to 16 where 16 would compute the tail twice.
    """
    width = _widest(profile, extent)
    if width == 16 and 0 < extent % 16 <= 8 and extent < 64:
        width = 8
    return width


def _widest(profile: DeviceProfile, extent: int) -> int:
    width = min(profile.vector, 16)
    while width > max(extent, 1):
        width //= 2
    return width


# Panels -> rows to try on CPUs, per lanes: 12 to 16 vectors of 16 fill 32 registers of 8 floats.
CPU_TILES = {
    16: {1: (14, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1), 2: (8, 7, 6, 5, 4, 3, 2, 1), 4: (3, 2, 1)},
    8: {1: (14, 8, 4, 1), 2: (12, 8, 7, 6, 4, 2, 1), 3: (8, 7, 6, 4, 2, 1), 4: (4, 2, 1)},
}
# The same where a register holds 16 floats: squarer tiles load less for each product.
WIDE_TILES = {1: (14, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1), 2: (13, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1),
              3: (9, 8, 7, 6, 5, 4, 3, 2, 1), 4: (6, 5, 4, 3, 2, 1), 5: (5, 4, 3, 2, 1),
              6: (4, 3, 2, 1)}
NARROW = {1: (14, 8, 4, 2, 1), 2: (8, 4, 2, 1), 3: (4, 2, 1)}


def dense_tile(profile: DeviceProfile, pixels: int, outputs: int, depth: int,
               run: int = 0) -> Tile:
    """The tile of a GEMM-like kernel: pixels in a row, outputs columns, sums of depth products.

    run: so many of these lie together in memory, for a kernel that may take them for lanes; 0 for
         one that may not.
    """
    pixels, wide = max(pixels, 1), profile.native >= 16
    tiles = _dense_tiles(profile, pixels, outputs)
    if run:
        tiles += _along(profile, pixels, outputs)

    def cost(tile: Tile) -> float:
        if run and tile.lanes == 1:
            return _cost_along(tile, pixels, depth, run, along(profile))
        return _cost(tile, pixels, outputs, wide)

    return profile.choices.pick(f"tile {pixels}x{outputs}x{depth}", tiles, cost)


def cycles(profile: DeviceProfile, pixels: int, outputs: int) -> float:
    """Cycles for each step in depth of a product in the tile that suits it best, on a CPU."""
    return min(_cost(t, pixels, outputs, profile.native >= 16)
               for t in _dense_tiles(profile, pixels, outputs))


def _dense_tiles(profile: DeviceProfile, pixels: int, outputs: int) -> list[Tile]:
    widest, wide = _widest(profile, outputs), profile.native >= 16
    return [Tile(rows, count, width)
            for width in ({16, 8} if widest == 16 else {widest})
            for count, choices in (WIDE_TILES if wide and width >= 8
                                   else CPU_TILES.get(width, NARROW)).items()
            for rows in choices
            if rows <= pixels and count <= -(-outputs // width)]


# Panels -> rows of tiles of dot products: sums of 4 by 6 vectors leave room for a row of weights.
DOT_TILES = {1: (16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1), 2: (12, 10, 8, 7, 6, 5, 4, 3, 2, 1),
             3: (8, 7, 6, 5, 4, 3, 2, 1), 4: (6, 5, 4, 3, 2, 1), 6: (4, 3, 2, 1),
             8: (2, 1), 12: (1,)}
REGISTERS = 32


def dot_tile(profile: DeviceProfile, pixels: int, outputs: int, depth: int,
             windows: bool = False) -> Tile:
    """The tile of a kernel of dot products: sums of depth times four products, for 8 outputs or
    more; windows: each row of it has a sum of its own beside them."""
    width = 16 if outputs >= 16 else 8
    panels = -(-outputs // width)
    tiles = [Tile(rows, count, width) for count, choices in DOT_TILES.items() for rows in choices
             if rows <= pixels and count <= panels
             and (not windows or (rows + 1) * (count + 1) <= REGISTERS)]

    def cost(tile: Tile) -> float:
        count = -(-pixels // tile.rows) * -(-panels // tile.panels)
        products, loads = tile.rows * tile.panels / 2, (tile.rows + tile.panels) / 2
        products += windows * tile.rows / 2
        # Five cycles of latency before a sum can be used again.
        return count * (max(products, loads * 1.2, 5.0) + 0.5)

    return profile.choices.pick(f"dots {pixels}x{outputs}x{depth}{' shifted' * windows}",
                                tiles, cost)


# Of so few outputs most lanes would be idle.
FEW = 12
# Vectors of sums that registers hold beside weights and inputs.
SUMS = {8: 10, 16: 24}


def along(profile: DeviceProfile) -> int:
    """Lanes along the depth of a sum: a register's floats, of those that kernels can have."""
    return min(max(profile.native, 4), 16)


def _along(profile: DeviceProfile, pixels: int, outputs: int) -> list[Tile]:
    """Tiles whose lanes are steps in depth, for few outputs; one alone has these anyway."""
    if not 1 < outputs <= FEW:
        return []
    return [Tile(rows, outputs, 1) for rows in (8, 6, 4, 3, 2, 1)
            if rows <= pixels and rows * outputs <= SUMS.get(profile.native, 10)]


def _cost_along(tile: Tile, pixels: int, depth: int, run: int, lanes: int) -> float:
    """Cycles per step in depth, as _cost, where lanes are steps in depth and meet at the end: that
    takes five for each sum (measured on AVX-512)."""
    sums, count = tile.rows * tile.panels, -(-pixels // tile.rows)
    step = max(sums / 2, (tile.rows + tile.panels) / 2, 4.0) + 0.5
    steps = depth // run * (run // lanes + run % lanes)
    return count * (step * steps + 5 * sums) / max(depth, 1)


def _cost(tile: Tile, pixels: int, outputs: int, wide: bool) -> float:
    """Cycles per step of the inner loop on a core with two multiply-adds and two loads a cycle,
    of 16 floats each where it is wide, else of 8, over all tiles."""
    panels = -(-outputs // tile.lanes)
    count = -(-pixels // tile.rows) * -(-panels // tile.panels)
    parts = 1.0 if wide else max(tile.lanes / 8, 1.0)
    products = tile.rows * tile.panels * parts / 2
    loads = (tile.rows + tile.panels * parts) / 2
    # Four cycles of latency before an accumulator can be used again. A fifth of the loads of a wide
    # core wait: measured on AVX-512.
    return count * (max(products, loads * (1.2 if wide else 1.0), 4.0) + 0.1 * loads + 0.5)


# Vectors of 16 (or pairs of 8) that fit the registers beside a tap and a bias.
DEPTHWISE_VECTORS = {16: 26, 8: 28}


def depthwise_tile(profile: DeviceProfile, columns: Axis, channels: int) -> tuple[int, int]:
    """Lanes and pixels of a depthwise run, so that accumulators and inputs fit the registers and
    the runs of a row overlap little."""
    width = lanes(profile, channels)
    room = DEPTHWISE_VECTORS.get(width, 28)

    def span(run: int) -> int:
        return (run - 1) * columns.stride + columns.reach

    def cost(run: int) -> float:
        return -(-columns.out // run) * (run * columns.kernel + span(run) + columns.kernel + 4)

    fits = [r for r in range(1, 15) if r <= columns.out and (r == 1 or r + span(r) <= room)]
    return width, min(fits or [1], key=lambda r: (cost(r), -r))


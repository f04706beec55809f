"""3x3 convolutions of stride 1 with fewer multiplications: Winograd's minimal filtering."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from app.engine.epilogue import INTERNAL
from app.engine.ir import Arg, Const, Data, Fused, Launch, Node, Tensor
from app.engine.ops.precision import halved
from app.engine.ops.tiles import lanes
from app.engine.profile import DeviceProfile

if TYPE_CHECKING:
    from app.engine.ops.conv import Geometry

i32 = np.int32
# Channels on both sides below which the transforms cost more than they save.
LEAST = 16
# Largest error of a result, in parts of the results' range: a twentieth of what a model may have.
ACCURATE = 5e-6
# Root mean square of the error of sums of whole numbers. Rounding then makes them exact but for one
# in some ten thousands, which is one off; a step of the output has hundreds to thousands.
STRAYS = 0.125
TRIED = 16
# What a device is taken for where its profile does not say: FLOP/s, bytes/s, seconds a launch.
USUAL = {"cpu": (135e9, 40e9, 2e-6), "gpu": (6e12, 250e9, 8e-6)}
REACHED = 0.7
# The points of tiles of 4 beside 0, of both signs: of the simple ones those with the least error, a
# fifth of that of 1 and 2 at the worst and half on average (64 to 256 channels).
NEAR, FAR = 0.625, 1.5
POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, NEAR, -NEAR, FAR, -FAR)}


def _filter_matrix(points: Sequence[float]) -> Data:
    """Turns a filter of 3 into as many products as there are points, and one for infinity.

    Source: Toom and Cook's scheme, of which Winograd's is a case; here and in the next two.
    """
    return np.array([[p ** k / prod(p - q for q in points if q != p) for k in range(3)]
                     for p in points] + [[0, 0, 1]])


def _input_matrix(points: Sequence[float]) -> Data:
    """Turns so many pixels into the other factors of the products."""
    rows = [np.poly([q for q in points if q != p]) for p in points] + [np.poly(points)]
    return np.array([[*row[::-1], *[0] * (len(points) + 1 - len(row))] for row in rows])


def _output_matrix(points: Sequence[float]) -> Data:
    """Turns the products into results, two fewer."""
    last = len(points) - 2
    return np.array([[*(p ** k for p in points), float(k == last)] for k in range(last + 1)])


# By the extent of a tile.
FILTERS, INPUTS, OUTPUTS = ({extent: matrix(points) for extent, points in POINTS.items()}
                            for matrix in (_filter_matrix, _input_matrix, _output_matrix))


@dataclass(frozen=True, slots=True)
class Way:
    """How a convolution is computed: tile 0 is directly, else by tiles of that extent."""

    tile: int


@dataclass(frozen=True, slots=True)
class Tiles:
    """The tiles that cover the output."""

    extent: int
    batch: int
    down: int
    across: int

    @property
    def products(self) -> int:
        """Matrices between the two transforms."""
        return (self.extent + 2) ** 2

    @property
    def count(self) -> int:
        """Tiles of the whole batch."""
        return self.batch * self.down * self.across


def tiles(extent: int, g: Geometry) -> Tiles:
    """Cover the output of a convolution."""
    return Tiles(extent, g.batch, -(-g.rows.out // extent), -(-g.columns.out // extent))


def key(g: Geometry) -> str:
    """The name of a shape among the choices."""
    return f"3x3 {g.batch}x{g.rows.out}x{g.columns.out}x{g.channels}x{g.outputs}"


def way(profile: DeviceProfile, node: Node, g: Geometry, steps: tuple[Fused, ...]) -> Way:
    """The measured or predicted way, among those that are accurate for these weights."""
    w = node.input(1)
    fits = (all(a.kernel == 3 and a.stride == a.dilation == 1 for a in (g.rows, g.columns))
            and g.groups == 1 and g.pixels is None and min(g.channels, g.outputs) >= LEAST
            and not halved(w, profile)
            and (whole(node) or not any(s.kind in INTERNAL for s in steps)))
    if not fits:
        return Way(0)
    chosen = profile.choices.pick(key(g), [Way(0), Way(2), Way(4)],
                                  lambda own: seconds(own, profile, g))
    if chosen.tile == 4 and w.data is not None and not _accurate(node, w.data):
        return Way(2)
    return chosen


def whole(node: Node) -> bool:
    """Whether a convolution is of 8-bit numbers: see passes.quantize."""
    return bool(node.options.get("whole"))


def _accurate(node: Node, w: Data) -> bool:
    return strays(w, 4) <= STRAYS if whole(node) else error(w, 4) <= ACCURATE


def seconds(own: Way, profile: DeviceProfile, g: Geometry) -> float:
    """Roofline of a convolution: multiplications, bytes moved, launches."""
    flops, bandwidth, launch = USUAL[profile.kind]
    flops = REACHED * (profile.flops or flops)
    bandwidth = REACHED * (profile.bandwidth or bandwidth)
    ends = g.batch * g.rows.out * g.columns.out * (g.channels + g.outputs)
    if not own.tile:
        weights = 9 * g.channels * g.outputs
        return max(g.flops / flops, 4 * (ends + weights) / bandwidth) + launch
    t = tiles(own.tile, g)
    between = t.products * t.count * (g.channels + g.outputs)
    weights = t.products * g.channels * g.outputs
    products = max(2 * t.count * weights / flops, 4 * (between + weights) / bandwidth)
    return products + 4 * (ends + between) / bandwidth + 3 * launch


def error(w: Data, tile: int) -> float:
    """The largest difference from the exact result on random tiles, in parts of its range.

    Shapes: w [O,3,3,C]; a few of its outputs are tried.
    """
    x = np.random.default_rng(0).uniform(-1, 1, _tried(w, tile)).astype(np.float32)
    got, exact = _both(_some(w), tile, x)
    return float(np.abs(got - exact).max() / max(float(np.ptp(exact)), 1e-30))


def strays(w: Data, tile: int) -> float:
    """The root mean square of the same difference for 8-bit numbers of one sign. Units: ones.

    Shapes: w [O,3,3,C], whole numbers; a few of its outputs are tried.
    """
    x = np.random.default_rng(0).integers(0, 256, _tried(w, tile)).astype(np.float32)
    got, exact = _both(_some(w), tile, x)
    return float(np.sqrt(np.mean((got - exact) ** 2)))


def _some(w: Data) -> Data:
    chosen: Data = w[::max(1, len(w) // 8)]
    return chosen


def _tried(w: Data, tile: int) -> tuple[int, int, int, int]:
    return (TRIED, tile + 2, tile + 2, w.shape[3])


def _both(w: Data, tile: int, x: Data) -> tuple[Data, Data]:
    """Results of tiles x [N,A,A,C] as the kernels have them, and exactly: [N,O,tile^2] both."""
    side, count, n = tile + 2, len(w), len(x)
    flat = w.reshape(count, -1).astype(np.float64).T
    exact = np.stack([x[:, i:i + 3, j:j + 3].reshape(n, -1) @ flat
                      for i in range(tile) for j in range(tile)], 2)
    forward, back = (m[tile].astype(np.float32) for m in (INPUTS, OUTPUTS))
    v = forward @ x.transpose(0, 3, 1, 2) @ forward.T
    u = filters(w, tile).astype(np.float32).reshape(side, side, count, -1)
    m = v.transpose(2, 3, 0, 1) @ u.transpose(0, 1, 3, 2)
    got = (back @ m.transpose(2, 3, 0, 1) @ back.T).reshape(n, count, -1)
    return got, exact


def filters(w: Data, tile: int) -> Data:
    """The filters as the products want them.

    Shapes: w [O,3,3,C] -> [(tile+2)^2 * O, C].
    """
    g = FILTERS[tile]
    rows = np.tensordot(g, w.astype(np.float64), (1, 1))
    made: Data = np.tensordot(g, rows, (1, 2)).transpose(1, 0, 2, 3)
    return made.reshape(-1, w.shape[3])


def _filters(tile: int) -> Callable[[Data], Data]:
    return lambda w: filters(w, tile).astype(np.float32)


Product = Callable[[Node, tuple[int, int, int, int], tuple[str, Callable[[Data], Data]]],
                   Sequence[Launch]]


def launches(node: Node, g: Geometry, tile: int, bias: Arg, product: Product,
             compiled: tuple[dict[str, str | int], list[Arg]],
             profile: DeviceProfile) -> list[Launch]:
    """Transform the input, multiply, transform back with bias and epilogue.

    product plans a grouped product: node, (groups, rows, channels, outputs), selection.
    """
    x, w, y = node.input(0), node.input(1), node.outputs[0]
    t = tiles(tile, g)
    v = Tensor(f"{y.name}/in", (t.count, t.products * g.channels), "float32")
    u = Tensor(f"{y.name}/out", (t.count, t.products * g.outputs), "float32")
    middle = product(Node("CONV_2D", (v, w), (u,)), (t.products, t.count, g.channels, g.outputs),
                     (f"winograd {tile}", _filters(tile)))
    epilogue, operands = compiled
    source = tuple(map(i32, (g.rows.extent, g.columns.extent, g.channels, g.rows.before,
                             g.columns.before)))
    plain = Const(w, "taps first", lambda data: np.ascontiguousarray(data.transpose(1, 2, 3, 0)))
    enter = _side("winograd_in", t, g.channels, profile, {}, (x, v, *source), ())
    leave = _side("winograd_out", t, g.outputs, profile,
                  {**epilogue, "WHOLE": int(whole(node))},
                  (u, bias, y, x, plain, *source,
                   *map(i32, (g.rows.out, g.columns.out, g.outputs, g.outputs, 0))), operands)
    return [enter, *middle, leave]


def _side(kernel: str, t: Tiles, channels: int, profile: DeviceProfile,
          epilogue: Mapping[str, str | int], args: tuple[Arg, ...],
          operands: tuple[Arg, ...] | list[Arg]) -> Launch:
    # On GPUs neighbouring lanes own neighbouring channels, and a tile fills the registers: wider
    # ones leave two wavefronts a SIMD on gfx803.
    width = min(lanes(profile, channels), 16 if profile.is_cpu else 4 // t.extent)
    vectors = -(-channels // width)
    defines: dict[str, str | int] = {"VW": width, "TILE": t.extent, **epilogue}
    if t.extent == 4:
        defines |= {"NEAR": f"{NEAR}f", "FAR": f"{FAR}f"}
    # CPUs read the rows of one product after the other, so these lie together.
    apart = (channels, t.count * channels) if profile.is_cpu else (t.products * channels, channels)
    numbers = (t.down, t.across, t.count, vectors, *apart)
    size, local = (vectors, t.batch * t.down), (1, 1)
    if not profile.is_cpu:
        size, local = (vectors * t.count, 1), (64, 1)
        defines["FLAT"] = 1
    flops = 4 * t.products * (t.extent + 2) * t.count * channels
    return Launch("winograd", kernel, (*args, *map(i32, numbers), *operands), size, local,
                  defines, flops, even=channels % width == 0)

"""StableHLO's windows over any axes, which pool, sum or search; its padding and its counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.engine.epilogue import literal
from app.engine.ir import Data, Launch, Node
from app.engine.ops.gather import flat
from app.engine.ops.movement import TYPES, chunk, copy_launch, dense, fill_launch
from app.engine.ops.scatter import FOLDS
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

i32 = np.int32
RANK = 5
NUMBERS = ("float32", "int32", "int64", "int8", "uint8", "int16", "bool")


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of a window. Units: elements; before and after are padding, apart is how far
    neighbours of the input are moved apart."""

    kernel: int
    stride: int
    dilation: int
    apart: int
    before: int
    after: int

    def out(self, extent: int) -> int:
        """How often the window fits.

        Raises: ValueError if the numbers make no window.
        """
        if min(self.kernel, self.stride, self.dilation, self.apart) < 1:
            raise ValueError(f"{self} is no window; all but the padding must be at least 1")
        whole = max(extent - 1, -1) * self.apart + 1 if extent else 0
        room = whole + self.before + self.after - (self.kernel - 1) * self.dilation - 1
        return max(room // self.stride + 1, 0) if room >= 0 else 0


def _axes(node: Node) -> list[_Axis]:
    rank, options = len(node.input(0).shape), node.options

    def numbers(key: str, missing: int) -> list[int]:
        return [int(v) for v in options.get(key) or ()] or [missing] * rank

    pads = numbers("padding", 0) if options.get("padding") else [0] * 2 * rank
    return [_Axis(*values) for values in zip(
        numbers("window_dimensions", 1), numbers("window_strides", 1),
        numbers("window_dilations", 1), numbers("base_dilations", 1), pads[::2], pads[1::2],
        strict=True)]


@shape("WINDOWS")
def windows_shape(node: Node) -> Sequence[Shape]:
    """[X0..] -> [Y0..]: how often the window fits along each axis."""
    x = node.input(0).shape
    return [tuple(axis.out(extent) for axis, extent in zip(_axes(node), x, strict=True))]


@op("WINDOWS")
def windows(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = all numbers under a window made one: see passes.bodies.

    Shapes: x [X0..], init [] -> y [Y0..].
    Raises: UnsupportedOp for more than 5 axes, a computed init, inputs moved apart, or types that
            no kernel knows.
    Source: the StableHLO specification, reduce_window.
    """
    x, init, y, axes = node.input(0), node.input(1).data, node.outputs[0], _axes(node)
    require(x.dtype in NUMBERS, f"{node.op} of {x.dtype} has no kernel")
    require(init is not None, f"{node.op} from a computed number has no kernel")
    assert init is not None
    require(all(a.apart == 1 for a in axes), f"{node.op} of a dilated input has no kernel")
    missing = RANK - len(axes)
    require(missing >= 0, f"{node.op} over {len(axes)} axes has no kernel")
    if not y.size:
        return []
    first = init.reshape(-1)[0]
    every = [_Axis(1, 1, 1, 1, 0, 0)] * missing + axes
    out = [1] * missing + list(y.shape)
    numbers = [1] * missing + list(x.shape) + out
    for field in ("kernel", "stride", "dilation", "before"):
        numbers += [getattr(a, field) for a in every]
    per = chunk(out[4], profile)
    work = y.size * int(np.prod([a.kernel for a in axes]))
    return [Launch("windows", "windows", (flat(x), y, *map(i32, numbers), i32(per)),
                   (-(-out[4] // per), out[2] * out[3], out[0] * out[1]), (profile.group, 1, 1),
                   {"T": TYPES[x.dtype], "STEP(a, b)": FOLDS[str(node.options["kind"])][0],
                    "INIT": literal(float(first)) if x.dtype == "float32" else str(int(first))},
                   work)]


@host("WINDOWS")
def windows_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy, of any axes and types."""
    x, init = arrays
    assert x is not None
    assert init is not None
    (out,) = windows_shape(node)
    axes, step = _axes(node), FOLDS[str(node.options["kind"])][1]
    first = init.reshape(-1)[0]
    padded = _padded(x, first, axes)
    y = np.full(out, first, x.dtype)
    for place in np.ndindex(*(a.kernel for a in axes)):
        starts = [p * a.dilation for p, a in zip(place, axes, strict=True)]
        y = step(y, padded[tuple(slice(s, s + (o - 1) * a.stride + 1, a.stride)
                                 for s, o, a in zip(starts, out, axes, strict=True))])
    return [y.astype(x.dtype)]


def _padded(x: Data, value: Data, axes: Sequence[_Axis]) -> Data:
    """x with its neighbours moved apart and padded; negative padding cuts off."""
    inner = [(e - 1) * a.apart + 1 if e else 0 for e, a in zip(x.shape, axes, strict=True)]
    whole = np.full([max(a.before, 0) + e + max(a.after, 0)
                     for e, a in zip(inner, axes, strict=True)], value, x.dtype)
    whole[tuple(slice(max(a.before, 0), max(a.before, 0) + e, a.apart)
                for e, a in zip(inner, axes, strict=True))] = x
    cut: Data = whole[tuple(slice(max(-a.before, 0), whole.shape[i] - max(-a.after, 0))
                            for i, a in enumerate(axes))]
    return cut


def _pads(node: Node) -> list[_Axis]:
    options = node.options
    return [_Axis(1, 1, 1, int(inner) + 1, int(low), int(high)) for low, high, inner in zip(
        options["edge_padding_low"], options["edge_padding_high"], options["interior_padding"],
        strict=True)]


@shape("STABLEHLO_PAD")
def pad_shape(node: Node) -> Sequence[Shape]:
    """[X0..] -> [Y0..] with padding around it and between neighbours."""
    x = node.input(0).shape
    return [tuple(axis.out(extent) for axis, extent in zip(_pads(node), x, strict=True))]


@op("STABLEHLO_PAD")
def pad(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = a constant everywhere, with x written into it at steps.

    Raises: UnsupportedOp for a computed constant, padding that cuts off, or types that no kernel
            knows.
    Source: the StableHLO specification, pad.
    """
    x, value, y, axes = node.input(0), node.input(1).data, node.outputs[0], _pads(node)
    require(x.dtype in NUMBERS, f"{node.op} of {x.dtype} has no kernel")
    require(value is not None, f"{node.op} with a computed number has no kernel")
    assert value is not None
    require(all(a.before >= 0 and a.after >= 0 for a in axes),
            f"{node.op} that cuts off has no kernel")
    if not y.size:
        return []
    first = value.reshape(-1)[0]
    text = literal(float(first)) if x.dtype == "float32" else str(int(first))
    launches = [fill_launch(y, text, profile)]
    if x.size:
        steps = dense(y.shape)
        write = [s * a.apart for s, a in zip(steps, axes, strict=True)]
        start = sum(s * a.before for s, a in zip(steps, axes, strict=True))
        launches.append(copy_launch(x, y, x.shape, dense(x.shape), write, profile, (0, start)))
    return launches


@host("STABLEHLO_PAD")
def pad_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy."""
    x, value = arrays
    assert x is not None
    assert value is not None
    return [_padded(x, value.reshape(-1)[0], _pads(node))]


@host("STABLEHLO_IOTA")
def iota(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Count along one axis; there is nothing to compute it from, so it is always folded."""
    y, axis = node.outputs[0], int(node.options["iota_dimension"])
    spread = [1] * len(y.shape)
    spread[axis] = y.shape[axis]
    counted = np.arange(y.shape[axis]).reshape(spread)
    return [np.broadcast_to(counted, y.shape).astype(y.dtype)]

"""Pictures turned, stretched and moved, on the host: what Keras's augmentations become."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.ops.resize import wanted_size
from app.engine.registry import Shape, host, shape


def _mirrored(at: Data, extent: int) -> Data:
    """Beyond an edge the picture goes back, the last pixel first once more."""
    twice = 2 * extent
    below = np.trunc(-at / twice) * twice + at
    below = np.where(below < -extent, below + twice, -below - 1)
    above = at - np.trunc(at / twice) * twice
    above = np.where(above >= extent, twice - above - 1, above)
    return np.where(at < 0, below, np.where(at > extent - 1, above, at))


def _wrapped(at: Data, extent: int) -> Data:
    """Beyond an edge the picture begins anew."""
    last = max(extent - 1, 1)
    below = at + extent * (np.trunc(-at / last) + 1)
    above = at - extent * np.trunc(at / last)
    return np.where(at < 0, below, np.where(at > extent - 1, above, at))


def _still(at: Data, extent: int) -> Data:
    return at


# Where a place outside of the picture is taken from.
OUTSIDE: dict[str, Callable[[Data, int], Data]] = {
    "NEAREST": _still, "REFLECT": _mirrored, "WRAP": _wrapped}


@shape("PROJECTED")
def projected_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,C], transforms [N or 1,8], size [2] -> [N,h,w,C].

    Raises: ValueError if they do not fit; UnsupportedOp of a computed size.
    """
    x, transforms, size = node.input(0).shape, node.input(1).shape, wanted_size(node, 2)
    if len(x) != 4 or transforms[1:] != (8,) or transforms[0] not in (1, x[0]):
        raise ValueError(f"pictures of {x} with transforms of {transforms}")
    return [(x[0], *size, x[3])]


@host("PROJECTED")
def projected(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Each pixel from the place ((a x + b y + c) / d, (e x + f y + g) / d), d = h x + i y + 1.

    Units:  transforms are a, b, c, e, f, g, h, i; places in pixels.
    Raises: ValueError for modes that nobody knows.
    Source: TensorFlow's ImageProjectiveTransformV3.
    """
    x, transforms, size, fill = (np.asarray(a) for a in arrays)
    mode, kind = str(node.options["fill_mode"]), str(node.options["interpolation"])
    if mode not in ("CONSTANT", *OUTSIDE) or kind not in ("NEAREST", "BILINEAR"):
        raise ValueError(f"{mode} places, {kind} values")
    rows, columns = np.indices([int(e) for e in size.reshape(-1)]).astype(np.float32)
    made = np.empty((len(x), *rows.shape, x.shape[3]), x.dtype)
    for n, picture in enumerate(x):
        a, b, c, e, f, g, h, i = transforms[n if len(transforms) > 1 else 0]
        depth = h * columns + i * rows + 1
        with np.errstate(all="ignore"):
            across = (a * columns + b * rows + c) / depth
            down = (e * columns + f * rows + g) / depth
        if mode != "CONSTANT":
            down, across = (OUTSIDE[mode](p, extent).clip(0, extent - 1) if extent > 1 else 0 * p
                            for p, extent in zip((down, across), picture.shape, strict=False))
        found = _read(picture, down, across, kind, fill.reshape(-1)[0])
        made[n] = np.where((depth == 0)[..., None], fill, found)
    return [made]


def _read(picture: Data, down: Data, across: Data, kind: str, fill: float) -> Data:
    if kind == "NEAREST":
        return _pixels(picture, _rounded(down), _rounded(across), fill)
    top, left = np.floor(down), np.floor(across)
    lower, right = (down - top)[..., None], (across - left)[..., None]
    rows = [(1 - right) * _pixels(picture, row, left, fill)
            + right * _pixels(picture, row, left + 1, fill) for row in (top, top + 1)]
    made: Data = (1 - lower) * rows[0] + lower * rows[1]
    return made


def _rounded(at: Data) -> Data:
    """Halves go away from zero."""
    made: Data = np.copysign(np.floor(np.abs(at) + np.float32(.5)), at)
    return made


def _pixels(picture: Data, rows: Data, columns: Data, fill: float) -> Data:
    height, width = picture.shape[:2]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    near = [np.where(inside, at, 0).astype(np.int64) for at in (rows, columns)]
    return np.where(inside[..., None], picture[near[0], near[1]], fill)

"""What detectors do with boxes in pictures, on the host; of TFLite's own the shapes alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.ops.resize import wanted_size
from app.engine.registry import Shape, host, require, shape


@shape("CROP_AND_RESIZE")
def crop_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,C], boxes [K,4], their pictures [K], size [2] -> [K,h,w,C].

    Raises: ValueError if they do not fit; UnsupportedOp of a computed size.
    """
    x, boxes, size = node.input(0).shape, node.input(1).shape, wanted_size(node, 3)
    if len(x) != 4 or len(boxes) != 2 or boxes[1] != 4 or node.input(2).shape != boxes[:1]:
        raise ValueError(f"pictures of {x}, boxes of {boxes} of {node.input(2).shape}")
    return [(boxes[0], *size, x[3])]


@host("CROP_AND_RESIZE")
def cut(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Each box of a picture, resized; what lies outside of the picture has a fixed value.

    Units:  boxes y1, x1, y2, x2 in parts of the distance from the first to the last pixel.
    Raises: ValueError if a box is of a picture that is not there.
    Source: TensorFlow's CropAndResize.
    """
    x, boxes, which, size = arrays
    assert x is not None
    assert boxes is not None
    assert which is not None
    assert size is not None
    if which.size and not 0 <= which.min() <= which.max() < len(x):
        raise ValueError(f"boxes of the pictures {sorted(set(which.tolist()))}; there are {len(x)}")
    height, width = (int(e) for e in size.reshape(-1))
    made = np.full((len(boxes), height, width, x.shape[3]),
                   node.options["extrapolation_value"], np.float32)
    for y, (top, left, bottom, right), picture in zip(made, boxes, which, strict=True):
        rows = _places(top, bottom, height, x.shape[1])
        columns = _places(left, right, width, x.shape[2])
        inside = [np.flatnonzero((p >= 0) & (p <= extent - 1))
                  for p, extent in ((rows, x.shape[1]), (columns, x.shape[2]))]
        if all(len(i) for i in inside):
            y[np.ix_(*inside)] = _sampled(x[picture], rows[inside[0]], columns[inside[1]],
                                          str(node.options["method"]))
    return [made]


def _places(first: float, last: float, count: int, extent: int) -> Data:
    if count == 1:
        return np.array([(first + last) * .5 * (extent - 1)], np.float32)
    step = np.float32((last - first) * (extent - 1)) / np.float32(count - 1)
    made: Data = first * np.float32(extent - 1) + np.arange(count, dtype=np.float32) * step
    return made


def _sampled(x: Data, rows: Data, columns: Data, method: str) -> Data:
    if method == "nearest":
        near: Data = x[np.ix_(*((np.floor(p + np.float32(.5))).astype(np.int32)
                                for p in (rows, columns)))]
        return near
    x = x.astype(np.float32)
    (top, bottom, down), (left, right, along) = (
        (np.floor(p).astype(np.int32), np.ceil(p).astype(np.int32), p - np.floor(p))
        for p in (rows, columns))
    across = [x[r][:, left] + (x[r][:, right] - x[r][:, left]) * along[:, None]
              for r in (top, bottom)]
    made: Data = across[0] + (across[1] - across[0]) * down[:, None, None]
    return made


@shape("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5")
def kept_shapes(node: Node) -> Sequence[Shape]:
    """Boxes [N,4], scores [N], at most M [] -> their places [M], V5 also scores [M], how many [].

    Raises: UnsupportedOp if the model computes how many at most.
    """
    most = node.input(2).data
    require(most is not None, f"{node.op} of a computed number of boxes can't be planned")
    assert most is not None
    return [(int(most.reshape(-1)[0]),)] * (len(node.outputs) - 1) + [()]


@shape("COMBINED_NON_MAX_SUPPRESSION")
def chosen_shapes(node: Node) -> Sequence[Shape]:
    """Boxes [B,N,Q,4], scores [B,N,C] -> [B,M,4], [B,M], [B,M], [B].

    Raises: ValueError if they do not fit; UnsupportedOp of computed numbers of boxes.
    """
    boxes, scores = node.input(0).shape, node.input(1).shape
    if len(boxes) != 4 or len(scores) != 3 or boxes[2] not in (1, scores[2]) or boxes[3] != 4:
        raise ValueError(f"boxes of {boxes} with scores of {scores}")
    each, total = node.input(2).data, node.input(3).data
    require(each is not None and total is not None,
            "COMBINED_NON_MAX_SUPPRESSION of a computed number of boxes has no kernel")
    assert each is not None
    assert total is not None
    count = _count(node, int(each.reshape(-1)[0]), int(total.reshape(-1)[0]), scores[2])
    return [(boxes[0], count, 4), (boxes[0], count), (boxes[0], count), (boxes[0],)]


def _count(node: Node, each: int, total: int, classes: int) -> int:
    return min(total, each * classes) if node.options["pad_per_class"] else total


@host("COMBINED_NON_MAX_SUPPRESSION")
def chosen(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The best boxes of each class that overlap no better one of it, the best of all classes first.

    Units:  boxes y1, x1, y2, x2, any two opposite corners.
    Source: TensorFlow's CombinedNonMaxSuppression.
    """
    boxes, scores, *numbers = (np.asarray(a) for a in arrays if a is not None)
    each, total, overlap, least = (v.reshape(-1)[0] for v in numbers)
    count = _count(node, int(each), int(total), scores.shape[2])
    rows = [_of_picture(b, s, min(int(each), len(b)), overlap, least)[:count]
            for b, s in zip(boxes, scores, strict=True)]
    made = [np.zeros((len(boxes), count, 4), np.float32), np.zeros((len(boxes), count), np.float32),
            np.zeros((len(boxes), count), np.float32)]
    for picture, found in enumerate(rows):
        for place, (score, kind, box) in enumerate(found):
            made[0][picture, place], made[1][picture, place], made[2][picture, place] = (
                box, score, kind)
    if node.options["clip_boxes"]:
        made[0] = made[0].clip(0, 1)
    return [*made, np.array([len(r) for r in rows], np.int32)]


def _of_picture(boxes: Data, scores: Data, each: int, overlap: float,
                least: float) -> list[tuple[float, int, Data]]:
    found = []
    for kind in range(scores.shape[1]):
        own = boxes[:, kind if boxes.shape[1] > 1 else 0]
        for best in without_overlaps(own, scores[:, kind], each, overlap, least):
            found.append((float(scores[best, kind]), kind, own[best]))
    return sorted(found, key=lambda f: -f[0])


def without_overlaps(boxes: Data, scores: Data, most: int, overlap: float,
                     least: float) -> list[int]:
    """The best boxes, each of which shares no more than a part of it with a better one.

    Shapes: boxes [N,4], scores [N].
    """
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    areas = (high - low).prod(1)
    kept: list[int] = []
    free = scores > least
    for k in np.argsort(-scores, kind="stable"):
        if len(kept) >= most or not free[k]:
            continue
        kept.append(int(k))
        shared = (np.minimum(high, high[k]) - np.maximum(low, low[k])).clip(0).prod(1)
        with np.errstate(all="ignore"):
            part = np.where((areas > 0) & (areas[k] > 0), shared / (areas + areas[k] - shared), 0)
        free &= ~(part > overlap)
    return kept

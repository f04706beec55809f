"""Pooling over windows of three dimensions; passes.volumes makes it pooling of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.ops.window import Axis, axis
from app.engine.registry import Shape, host, shape

KINDS = ("MAX_POOL_3D", "AVERAGE_POOL_3D")


def windows(node: Node) -> tuple[Axis, ...]:
    """The window along depth, height and width of x [N,D,H,W,C].

    Raises: InvalidModel if the numbers make no window; ValueError if x is too small or has other
            dimensions.
    """
    x = node.input(0).shape
    if len(x) != 5:
        raise ValueError(f"{x} are no volumes with channels")
    return tuple(axis(extent, kernel, stride, 1, str(node.options["padding"]))
                 for extent, kernel, stride in zip(x[1:4], node.options["kernel"],
                                                   node.options["strides"], strict=True))


@shape(*KINDS)
def pool_shape(node: Node) -> Sequence[Shape]:
    """[N,D,H,W,C] -> [N,OD,OH,OW,C].

    Raises: as windows.
    """
    x = node.input(0).shape
    return [(x[0], *(own.out for own in windows(node)), x[4])]


@host(*KINDS)
def pool_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Axis by axis in numpy: a window's mean is that of means, since its sides are what is counted.

    Source: TensorFlow's MaxPool3D, AvgPool3D.
    """
    y = arrays[0]
    assert y is not None
    join = np.max if node.op == KINDS[0] else np.mean
    for number, own in enumerate(windows(node), 1):
        starts = [i * own.stride - own.before for i in range(own.out)]
        parts = [join(y.take(range(max(s, 0), min(s + own.kernel, own.extent)), number), number)
                 for s in starts]
        y = np.stack(parts, number) if parts else y.take([], number)
    return [y.astype(node.outputs[0].dtype)]

"""TensorFlow's own operations that published models hold ("Flex"), where numpy has the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.registry import Shape, host, require, shape

RFFT = "CUSTOM:FlexRFFT"


def _length(node: Node) -> int:
    data = node.input(1).data
    require(data is not None, "FlexRFFT of a computed length has no kernel")
    assert data is not None
    return int(data.reshape(-1)[0])


@shape(RFFT)
def rfft_shape(node: Node) -> Sequence[Shape]:
    """[..., N] -> [..., length / 2 + 1]."""
    return [(*node.input(0).shape[:-1], _length(node) // 2 + 1)]


@host(RFFT)
def rfft(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The spectrum of real numbers over the last axis, cut or filled with zeros to a length.

    Source: tf.signal.rfft.
    """
    assert arrays[0] is not None
    spectrum: Data = np.fft.rfft(arrays[0], _length(node)).astype(np.complex64)
    return [spectrum]

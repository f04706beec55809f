"""Features crossed with each other and hashed, on the host: the wide side of wide and deep nets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from app.engine.ir import Data, Node
from app.engine.ops.text_hashes import MASK, farm_hash
from app.engine.registry import host

MULTIPLIER = 0xC6A4A7935BD1E995


@host("SPARSE_CROSS")
def crossed(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """A number for each choice of one feature of every column, row by row.

    Shapes: N places [n,2], N values [n], N shapes [2], and any number of columns [B,k] ->
            places [m,2], numbers [m], shape [2], all int64.
    Raises: ValueError for texts, which are asked for without a hash.
    Source: TensorFlow's SparseCross.
    """
    if not node.options["hashed_output"]:
        raise ValueError("features are crossed to hashes only")
    count = int(node.options["N"])
    given = [np.asarray(a) for a in arrays]
    places, values = given[:count], given[count:2 * count]
    extents, columns = given[2 * count:3 * count], given[3 * count:]
    rows = int(extents[0][0]) if extents else len(columns[0])
    buckets, key = int(node.options["num_buckets"]), int(node.options["hash_key"])
    found = [[_joined(choice, key & MASK) % (buckets or (1 << 63) - 1)
              for choice in product(*(_features(p, v, row) for p, v in
                                      zip(places, values, strict=True)),
                                    *(map(_number, c[row].tolist()) for c in columns))]
             for row in range(rows)]
    made = [(n, k) for n, row in enumerate(found) for k in range(len(row))]
    return [np.array(made, np.int64).reshape(-1, 2),
            np.array([number for row in found for number in row], np.int64),
            np.array([rows, max(map(len, found), default=0)], np.int64)]


def _features(places: Data, values: Data, row: int) -> list[int]:
    return [_number(v) for v in values[places[:, 0] == row].tolist()]


def _number(feature: Any) -> int:
    return farm_hash(feature) if isinstance(feature, bytes) else int(feature) & MASK


def _joined(features: Sequence[int], key: int) -> int:
    for feature in features:
        mixed = _shifted(feature * MULTIPLIER & MASK) * MULTIPLIER
        key = (key ^ MULTIPLIER ^ mixed) * MULTIPLIER & MASK
        key = _shifted(_shifted(key) * MULTIPLIER & MASK)
    return key


def _shifted(v: int) -> int:
    return v ^ v >> 47

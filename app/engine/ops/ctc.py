"""Texts from the scores of letters over time (connectionist temporal classification), on the host.

Both decoders give sparse tensors: places [n,2], labels [n] and the shape [2], all int64.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from app.engine.ir import Data, Node
from app.engine.registry import host

NEVER = -np.inf
Labels = tuple[int, ...]


@host("CTC_GREEDY_DECODER")
def greedy(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The best label of each step without the blanks, and minus the sum of their scores.

    Shapes: x [T,B,C], lengths [B] -> places, labels, shape, score [B,1].
    Raises: ValueError if a length is longer than T.
    Source: TensorFlow's CTCGreedyDecoder.
    """
    x, lengths = _checked(arrays)
    blank = int(node.options["blank_index"]) % x.shape[2]
    rows: list[Labels] = []
    scores = np.zeros((x.shape[1], 1), x.dtype)
    for b, steps in enumerate(lengths):
        own = x[:steps, b]
        best = own.argmax(-1).tolist()
        scores[b, 0] = -own.max(-1).sum() if steps else 0
        labels = [k for k, _ in groupby(best)] if node.options["merge_repeated"] else best
        rows.append(tuple(k for k in labels if k != blank))
    return [*_sparse(rows), scores]


@host("CTC_BEAM_SEARCH_DECODER")
def beams(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The most probable texts, each of all the ways to write it with blanks and repetitions.

    The last label is the blank. After each step only the best beam_width texts go on.
    Shapes: x [T,B,C], lengths [B] -> P places, P labels, P shapes, logarithms [B,P].
    Raises: ValueError if a length is longer than T, or there are fewer beams than texts.
    Source: Graves, Sequence Transduction with Recurrent Neural Networks, 2012; TensorFlow's
            CTCBeamSearchDecoder.
    """
    x, lengths = _checked(arrays)
    paths, width = int(node.options["top_paths"]), int(node.options["beam_width"])
    if paths > width:
        raise ValueError(f"{paths} texts of {width} beams")
    found = [_searched(x[:steps, b], width)[:paths] for b, steps in enumerate(lengths)]
    if any(len(f) < paths for f in found):
        raise ValueError(f"there are no {paths} texts of so few steps")
    tensors = [_sparse([_merged(f[p][0]) if node.options["merge_repeated"] else f[p][0]
                        for f in found]) for p in range(paths)]
    scores = np.array([[score for _, score in f] for f in found], x.dtype)
    return [t[k] for k in range(3) for t in tensors] + [scores.reshape(len(found), paths)]


def _checked(arrays: Sequence[Data | None]) -> tuple[Data, list[int]]:
    x, lengths = arrays[0], arrays[1]
    assert x is not None
    assert lengths is not None
    if x.ndim != 3 or lengths.shape != x.shape[1:2] or not x.shape[2]:
        raise ValueError(f"scores of shape {x.shape} with lengths of shape {lengths.shape}")
    if lengths.size and not 0 <= lengths.min() <= lengths.max() <= x.shape[0]:
        raise ValueError(f"lengths of {lengths.min()} to {lengths.max()}; there are {x.shape[0]} "
                         "steps")
    return x, lengths.tolist()


def _merged(labels: Labels) -> Labels:
    return tuple(k for k, _ in groupby(labels))


def _searched(x: Data, width: int) -> list[tuple[Labels, float]]:
    """The best texts of one row with their logarithms.

    Shapes: x [T,C].
    """
    blank = x.shape[1] - 1
    wide = x.astype(np.float64)
    logs = wide - np.logaddexp.reduce(wide, 1, keepdims=True)
    # Of each text the ways that end in a blank, and those that end in its last label.
    texts: dict[Labels, tuple[float, float]] = {(): (0.0, NEVER)}
    for step in logs:
        grown: dict[Labels, list[float]] = defaultdict(lambda: [NEVER, NEVER])
        for labels, (rested, spoken) in texts.items():
            total = np.logaddexp(rested, spoken)
            own = grown[labels]
            own[0] = np.logaddexp(own[0], total + step[blank])
            if labels:
                own[1] = np.logaddexp(own[1], spoken + step[labels[-1]])
            for k in range(blank):
                more = grown[(*labels, k)]
                before = rested if labels and labels[-1] == k else total
                more[1] = np.logaddexp(more[1], before + step[k])
        totals = {labels: float(np.logaddexp(a, b)) for labels, (a, b) in grown.items()}
        best = sorted(totals, key=lambda labels: -totals[labels])[:width]
        texts = {labels: (grown[labels][0], grown[labels][1]) for labels in best}
    return [(labels, float(np.logaddexp(a, b))) for labels, (a, b) in texts.items()]


def _sparse(rows: Sequence[Labels]) -> list[Data]:
    places = [(b, k) for b, row in enumerate(rows) for k in range(len(row))]
    return [np.array(places, np.int64).reshape(-1, 2),
            np.array([label for row in rows for label in row], np.int64),
            np.array([len(rows), max(map(len, rows), default=0)], np.int64)]

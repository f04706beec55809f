"""Runs in tinygrad's own environment: the layers of a dumped graph on its CL device, timed.

python net.py GRAPH.npz ROUNDS   prints one line of JSON: median seconds, kernels, answers
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from tinygrad import Tensor, TinyJit
from tinygrad.helpers import GlobalCounters

CHANNELS_FIRST = (0, 3, 1, 2)
CHANNELS_LAST = (0, 2, 3, 1)
ACTIVATIONS = {
    "NONE": lambda v: v, "RELU": lambda v: v.relu(), "RELU6": lambda v: v.clip(0, 6),
    "LOGISTIC": lambda v: v.sigmoid(), "TANH": lambda v: v.tanh(),
    "HARD_SWISH": lambda v: v * (v + 3).clip(0, 6) / 6,
}


def first(axis: int) -> int:
    """The place of a channels-last dimension among channels-first ones."""
    return CHANNELS_FIRST.index(axis)


def conv(node, x, w, b=None):
    """Dense and depthwise; pads are explicit: left, right, top, bottom."""
    deep = node["op"] == "DEPTHWISE_CONV_2D"
    out = x.pad(tuple(node["pads"])).conv2d(w, b, groups=w.shape[0] if deep else 1,
                                            stride=node["stride"], dilation=node["dilation"])
    return ACTIVATIONS[node["activation"]](out)


def dense(node, x, w, b=None):
    """A product with constant weights."""
    out = flat(x).reshape(-1, w.shape[1]) @ w.T
    return ACTIVATIONS[node["activation"]](out if b is None else out + b).reshape(node["shape"])


def flat(x):
    """A value in the file's order."""
    return x.permute(CHANNELS_LAST) if x.ndim == 4 else x


def shaped(x, shape):
    """A reshape as the file means it."""
    out = flat(x).reshape(shape)
    return out.permute(CHANNELS_FIRST) if out.ndim == 4 else out


def pooled(node, x):
    """The largest or the mean of each window; SAME is padded with what changes neither."""
    window = {"kernel_size": node["window"], "stride": node["stride"]}
    if node["op"] == "AVERAGE_POOL_2D":
        return x.avg_pool2d(**window, padding=node["pads"], count_include_pad=False)
    return x.pad(tuple(node["pads"]), value=-math.inf).max_pool2d(**window)


def mean(node, x):
    """Over axes of the file."""
    axes = [first(a) for a in node["axes"]] if x.ndim == 4 else node["axes"]
    out = x.mean(tuple(axes), keepdim=True)
    return out if len(node["shape"]) == 4 else shaped(out, node["shape"])


def padded(node, x):
    """Zeros around a value of four dimensions."""
    amounts = [node["pads"][a] for a in CHANNELS_FIRST]
    return x.pad(tuple(tuple(p) for p in amounts))


def pair(function):
    """Two operands and a fused activation."""
    return lambda node, a, b: ACTIVATIONS[node["activation"]](function(a, b))


OPS = {
    "CONV_2D": conv, "DEPTHWISE_CONV_2D": conv, "FULLY_CONNECTED": dense,
    "MAX_POOL_2D": pooled, "AVERAGE_POOL_2D": pooled, "MEAN": mean, "PAD": padded,
    "ADD": pair(lambda a, b: a + b), "MUL": pair(lambda a, b: a * b),
    "SUB": pair(lambda a, b: a - b), "MAXIMUM": pair(lambda a, b: a.maximum(b)),
    "RESHAPE": lambda node, x, *_: shaped(x, node["shape"]),
    "CONCATENATION": lambda node, *xs: xs[0].cat(
        *xs[1:], dim=first(node["axis"]) if xs[0].ndim == 4 else node["axis"]),
    "LEAKY_RELU": lambda node, x: x.leaky_relu(node["alpha"]),
    **{name: (lambda node, x, f=f: f(x)) for name, f in ACTIVATIONS.items() if name != "NONE"},
}


def main() -> None:
    """Load, compile, check nothing, time."""
    arrays = np.load(sys.argv[1])
    graph = json.loads(bytes(arrays["graph"]).decode())
    constants = {k[1:]: Tensor(arrays[k]).realize() for k in arrays.files if k[0] == "c"}
    inputs = [arrays[f"i{n}"] for n in range(len(graph["inputs"]))]

    @TinyJit
    def run(*given):
        known = {**constants, **dict(zip(graph["inputs"], map(entering, given), strict=True))}
        for node in graph["nodes"]:
            known[node["output"]] = OPS[node["op"]](node, *(known[t] for t in node["inputs"]))
        return [flat(known[t]).contiguous().realize() for t in graph["outputs"]]

    def once():
        return [t.numpy() for t in run(*(Tensor(a).realize() for a in inputs))]

    start = perf_counter()
    for _ in range(3):
        answers = once()
    load = perf_counter() - start
    GlobalCounters.reset()
    once()
    kernels = GlobalCounters.kernel_count
    times = []
    for _ in range(int(sys.argv[2])):
        start = perf_counter()
        once()
        times.append(perf_counter() - start)
    np.savez(Path(sys.argv[1]).with_name("answers.npz"), *answers)
    print(json.dumps({"seconds": median(times), "kernels": kernels, "load": load}))


def entering(x):
    """An input of the file as the layers here want it."""
    return x.permute(CHANNELS_FIRST) if x.ndim == 4 else x


if __name__ == "__main__":
    main()

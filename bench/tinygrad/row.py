"""The same model on tinygrad's CL device: its own environment, its own kernels, our graph.

tinygrad reads no .tflite; so the graph that the engine starts from (constants folded, nothing
fused) is written down and built again from tinygrad's layers, compiled by its JIT.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.engine.ir import Data, Graph, Node, Tensor
from app.engine.opencl.kernel import library
from app.engine.ops.window import axes
from app.engine.passes.specialise import specialise
from app.engine.reader import read
from app.engine.runtime import graphs_of
from bench.venvs import install, python

PACKAGES = ("tinygrad==0.14.0", "numpy")
SCRIPT = Path(__file__).with_name("net.py")
TIMEOUT = 600


def measure(blob: bytes, inputs: Sequence[Data], ours: Sequence[Data], folder: Path,
            cache: Path, rounds: int = 5) -> dict[str, Any]:
    """Build, check against our answers and time a model; {"refused": why} if it has other layers.

    cache keeps tinygrad's environment and its compiled kernels. Units: seconds.
    """
    graph = specialise(graphs_of(read(blob))[0], [a.shape for a in inputs])
    missing = sorted({n.op for n in graph.nodes} - {*OPTIONS, *PLAIN})
    if missing or any(a.dtype != np.float32 for a in inputs):
        return {"refused": f"layers without a counterpart here: {', '.join(missing)}"}
    file = folder / "graph.npz"
    np.savez(file, **_written(graph, inputs))
    cache.mkdir(parents=True, exist_ok=True)
    venv = cache / "tinygrad"
    install(venv, PACKAGES)
    command = [python(venv), str(SCRIPT), str(file), str(rounds)]
    environment = {**os.environ, "DEV": "CL", "CACHEDB": str(cache / "tinygrad.db"),
                   "POCL_DEVICES": "basic", "PYTHONPATH": "", "OPENCL_PATH": _loader()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False,
                          timeout=TIMEOUT)
    if done.returncode:
        return {"refused": done.stderr.strip().splitlines()[-1][:160]}
    answers = np.load(folder / "answers.npz")
    for name, own in zip(answers.files, ours, strict=True):
        room = 1e-3 * max(float(np.ptp(own)), 1e-3)
        if not np.allclose(answers[name].reshape(own.shape), own, atol=room):
            return {"refused": "its answers differ from ours"}
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _loader() -> str:
    """The OpenCL loader of this process, which the system may not have; "" if there is none."""
    library()
    maps = Path("/proc/self/maps").read_text("utf-8").split()
    return next((word for word in maps if "libOpenCL" in word), "")


def _written(graph: Graph, inputs: Sequence[Data]) -> dict[str, Any]:
    names: dict[Tensor, str] = {}
    constants: dict[str, Data] = {}

    def name(tensor: Tensor) -> str:
        return names.setdefault(tensor, str(len(names)))

    nodes = []
    for node in graph.nodes:
        reads = [t for t in node.inputs if t is not None]
        if node.op in ("RESHAPE", "MEAN", "PAD"):
            reads = reads[:1]
        for position, tensor in enumerate(reads):
            if tensor.data is not None:
                constants[f"c{name(tensor)}"] = _constant(node, position, tensor)
        nodes.append({"op": node.op, "inputs": [name(t) for t in reads],
                      "output": name(node.outputs[0]), "shape": node.outputs[0].shape,
                      "activation": node.options.get("fused_activation_function", "NONE"),
                      **OPTIONS.get(node.op, lambda _: {})(node)})
    described = {"nodes": nodes, "inputs": [name(t) for t in graph.inputs],
                 "outputs": [name(t) for t in graph.outputs]}
    text = np.frombuffer(json.dumps(described).encode(), "u1")
    return {"graph": text, **constants, **{f"i{n}": a for n, a in enumerate(inputs)}}


def _constant(node: Node, position: int, tensor: Tensor) -> Data:
    data = np.asarray(tensor.data, np.float32)
    if node.op == "DEPTHWISE_CONV_2D" and position == 1:
        return np.ascontiguousarray(data.transpose(3, 0, 1, 2))
    if data.ndim == 4:
        return np.ascontiguousarray(data.transpose(0, 3, 1, 2))
    four = len(node.outputs[0].shape) == 4 and node.op not in ("CONV_2D", "DEPTHWISE_CONV_2D")
    return data.reshape(-1, 1, 1) if four and data.size > 1 and data.ndim < 4 else data


def _window(node: Node) -> dict[str, Any]:
    options = dict(node.options)
    pooling = node.op.endswith("POOL_2D")
    size = ((int(options["filter_height"]), int(options["filter_width"])) if pooling
            else node.input(1).shape[1:3])
    rows, columns = axes(node.input(0).shape, (size[0], size[1]), options)
    return {"pads": [columns.before, columns.after, rows.before, rows.after],
            "stride": [rows.stride, columns.stride], "window": list(size),
            "dilation": [rows.dilation, columns.dilation]}


def _values(position: int) -> Callable[[Node], Data]:
    return lambda node: np.asarray(node.input(position).data)


OPTIONS: dict[str, Callable[[Node], dict[str, Any]]] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D"), _window),
    "MEAN": lambda node: {"axes": [int(a) for a in _values(1)(node).reshape(-1)]},
    "PAD": lambda node: {"pads": _values(1)(node).tolist()},
    "CONCATENATION": lambda node: {"axis": int(node.options["axis"])},
    "LEAKY_RELU": lambda node: {"alpha": float(node.options["alpha"])},
}
PLAIN = {"FULLY_CONNECTED", "ADD", "MUL", "SUB", "MAXIMUM", "RESHAPE", "RELU", "RELU6", "LOGISTIC",
         "TANH", "HARD_SWISH"}

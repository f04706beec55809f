"""The two models of the comparison: one so small that overhead decides, and a real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from app.repository.pull import fetch
from tests.engine.builder import ModelBuilder, Spec

IMAGE = (1, 128, 128, 3)
TINY = (1, 4)
BATCHING = {"max_batch": 8, "max_delay_ms": 1}


def make(folder: Path, cache: Path, batching: bool = False) -> dict[str, Path]:
    """Put both models where a repository has them; gives their files."""
    files = {name: folder / name / "1" / "model.tflite" for name in ("tiny", "image")}
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    files["tiny"].write_bytes(_dense())
    described = yaml.safe_load(Path("models/face-detection/model.yaml").read_text())
    origin = next(iter(described["versions"].values()))
    fetch(origin["source"], files["image"], sha256=origin["sha256"], cache=cache)
    if batching:
        for name in files:
            (folder / name / "model.yaml").write_text(yaml.safe_dump({"batching": BATCHING}))
    return files


def _dense() -> bytes:
    """y = W x + b, 4 to 3."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input(TINY)
    weights = graph.const(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4))
    bias = graph.const(np.zeros(3, np.float32))
    graph.outputs(*graph.op("FULLY_CONNECTED", [x, weights, bias], [Spec((1, 3))], {}))
    return model.build()

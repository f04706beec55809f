"""Servers that several tests of the protocol share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import tiny
from tests.service.live import ROOT, Server
from tests.tools import require_tool

DTYPES = ("int8", "uint8", "int16", "int32", "int64", "bool", "float16")


@pytest.fixture(scope="session")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers with a few small models; for tests that leave them as they are."""
    with Server(tmp_path_factory.mktemp("protocol"), workers=2) as server:
        models = {"plus-one": tiny.add(1), "pair": tiny.pair()}
        for dtype in DTYPES:
            models[f"from-{dtype}"] = tiny.cast(dtype, "float32")
            models[f"to-{dtype}"] = tiny.cast("float32", dtype)
        for name, data in models.items():
            answer = server.upload(name, "1", data)
            assert answer.status_code == 200, answer.text
        assert server.upload("plus-one", "2", tiny.add(2)).status_code == 200
        yield server


@pytest.fixture
def faulty(tmp_path: Path) -> dict[str, str]:
    """Settings of a server whose device lies or hangs once such a file is in tmp_path/faults."""
    require_tool("pocl")
    (tmp_path / "faults").mkdir()
    return {
        "BACKEND": "auto",
        "OPENCL_DEVICE": "Portable Computing Language",
        "FAULTS": str(tmp_path / "faults"),
        "PYTHONPATH": f"{ROOT}/tests/serving/faulty:{ROOT}",
    }

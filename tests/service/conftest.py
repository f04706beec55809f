"""Servers that several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import tiny
from tests.service.live import Server


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Three workers with a few small models; for tests that leave them as they are."""
    with Server(tmp_path_factory.mktemp("shared")) as server:
        assert server.upload("plus-one", "1", tiny.add(1)).status_code == 200
        assert server.upload("pair", "1", tiny.pair()).status_code == 200
        for dtype in ("int8", "uint8", "int32", "int64", "bool"):
            answer = server.upload(f"from-{dtype}", "1", tiny.cast(dtype, "float32"))
            assert answer.status_code == 200, answer.text
        same = tiny.cast("complex64", "complex64")
        assert server.upload("through-complex64", "1", same).status_code == 200
        assert server.upload("batches", "1", tiny.add(1, (2, 3))).status_code == 200
        assert server.upload("free", "1", tiny.add(1, (-1, 3))).status_code == 200
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a server of the test's own."""
    return tmp_path

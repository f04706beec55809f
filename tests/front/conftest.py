"""A server whose few threads would be missed at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service import tiny
from tests.service.live import Server


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker with two threads; for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("narrow")
    bounds = {"THREADS": "2", "KEEPALIVE_S": "2", "MAX_BODY_MB": "4", "QUEUE_MB": "24"}
    with Server(folder, workers=1, **bounds) as server:
        for name, data in {"m": tiny.add(1), "wide": tiny.add(1, (1, 200_000))}.items():
            answer = server.upload(name, "1", data)
            assert answer.status_code == 200, answer.text
        yield server

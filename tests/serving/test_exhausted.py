"""A worker without memory or descriptors says so, and goes on."""

from __future__ import annotations

import errno
import json
import resource
from pathlib import Path

import pytest

from app.errors import exhausted
from tests.service import tiny
from tests.service.live import Server

LARGE = json.dumps({"model_name": "m", "input_data": [[1, 2, 3, 4]] * 300_000}).encode()


def _worker(server: Server) -> int:
    return server.model("m")["versions"][0]["workers"][0]["pid"]  # type: ignore[no-any-return]


def test_without_memory_large_requests_are_refused_and_small_ones_answered(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        assert server.infer("m", [[0] * 4]).status_code == 200
        pid = _worker(server)
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (used + 16_000_000, resource.RLIM_INFINITY))
        for path, body in (("/v2/models/m/infer", bytes(60_000_000)), ("/inference", LARGE)):
            answer = server.post(path, data=body)
            assert answer.status_code == 503, answer.text
            assert "no memory left" in answer.json()["detail"]
            assert answer.headers["Retry-After"]
        assert server.infer("m", [[0] * 4]).status_code == 200
        assert _worker(server) == pid
        assert "unexpected error" not in server.text()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "no memory"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError(errno.ENOENT, "No such file"), None),
        (ValueError(), None),
    ],
)
def test_only_what_has_run_out_is_an_overload(error: Exception, says: str | None) -> None:
    found = exhausted(error)
    assert (found is None) if says is None else (says in str(found))

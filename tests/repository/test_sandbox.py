"""A verdict stands for the bytes that it was asked about, whatever lies at their place by then,
and names a runtime that survives what the model is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.backends.runtimes import installed
from app.errors import InvalidModel, ModelFileChanged
from app.repository.database import Database
from app.repository.sandbox import Sandbox, SandboxOptions
from app.repository.verdicts import Verdicts
from tests.service import tiny

SOUND, BROKEN = tiny.add(1), b"half of a copy"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(
        Verdicts(Database(tmp_path / "state")), tmp_path / "locks", SandboxOptions()
    )
    yield made
    made.close()


def test_no_file_gets_the_verdict_on_another(tmp_path: Path, sandbox: Sandbox) -> None:
    place = tmp_path / "model.tflite"
    good, bad = (hashlib.sha256(data).hexdigest() for data in (SOUND, BROKEN))
    for there, asked in ((BROKEN, good), (None, good), (SOUND, bad)):
        place.unlink(missing_ok=True)
        if there is not None:
            place.write_bytes(there)
        with pytest.raises(ModelFileChanged):
            sandbox.check(place, asked)
    assert sandbox.check(place, good).runtime
    place.write_bytes(BROKEN)
    with pytest.raises(InvalidModel):
        sandbox.check(place, bad)


def test_what_a_request_makes_large_is_left_to_the_runtime_that_survives_it(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    place, data = tmp_path / "model.tflite", tiny.filled(computed=True)
    place.write_bytes(data)
    verdict = sandbox.check(place, hashlib.sha256(data).hexdigest())
    assert verdict.runtime == next(iter(installed()))
    assert "a request decides" in verdict.reason

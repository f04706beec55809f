"""KServe's own client, unmodified, against two workers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import requests

from app.repository.pull import default_cache
from bench.venvs import install, python
from tests.service.live import Server

PACKAGE = "kserve==0.21.0"
# The client wants numpy 2, tflite-runtime numpy 1.
OWN = default_cache() / "clients" / PACKAGE.replace("==", "-")
pytestmark = pytest.mark.timeout(900)


def test_kserve_client(protocol: Server) -> None:
    install(OWN, [PACKAGE])
    shown = requests.get(protocol.url + "/v2/models/plus-one", timeout=30).json()
    names = shown["inputs"][0]["name"], shown["outputs"][0]["name"]
    script = Path(__file__).with_name("kserve_script.py")
    done = subprocess.run(
        [python(OWN), str(script), protocol.url, "plus-one", *names],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all well" in done.stdout

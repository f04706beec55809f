"""KServe's own client, unmodified, against two workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from app.repository.pull import default_cache
from tests.service.live import Server

PACKAGE = "kserve==0.21.0"


@pytest.fixture(scope="session")
def python() -> Path:
    """An environment of its own, made once: the client wants numpy 2, tflite-runtime numpy 1."""
    folder = default_cache() / "clients" / PACKAGE.replace("==", "-")
    found = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
        pip = [str(found), "-m", "pip", "install", "-q", PACKAGE]
        subprocess.run(pip, check=True, timeout=800, capture_output=True)
        (folder / ".installed").touch()
    return found


@pytest.mark.timeout(900)
def test_kserve_client(protocol: Server, python: Path) -> None:
    shown = requests.get(protocol.url + "/v2/models/plus-one", timeout=30).json()
    names = shown["inputs"][0]["name"], shown["outputs"][0]["name"]
    script = Path(__file__).with_name("kserve_script.py")
    done = subprocess.run(
        [str(python), str(script), protocol.url, "plus-one", *names],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all well" in done.stdout

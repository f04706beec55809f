"""Settings: every bad value is named, and the README's table is the truth."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from app.addresses import await_port
from app.claim import claim, master
from app.errors import SettingsError
from app.settings import Settings, table
from tests.service.live import ROOT, Server, free_port
from tests.tools import require_tool


def test_the_readme_has_the_table_of_settings() -> None:
    readme = (ROOT / "README.md").read_text()
    match = re.search(r"<!-- settings:.*?-->\n(.*?)\n<!-- /settings -->", readme, re.DOTALL)
    assert match
    assert match[1].strip() == table(), "run: make settings-table"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"), ("PORT", "65536"), ("PORT", "-1"), ("WORKERS", "0"), ("WORKERS", "1.5"),
        ("HOST", "a b"), ("BACKEND", "cuda"), ("MAX_BODY_MB", "nan"), ("MAX_BODY_MB", "inf"),
        ("LOG_FORMAT", "xml"), ("REQUEST_TIMEOUT_S", "0"), ("MODELS_DIR", " "),
        ("CORS_ORIGINS", "example.org"), ("CORS_ORIGINS", "*,http://a"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})
    assert f"{name}={value!r}" in str(caught.value)
    assert "must be" in str(caught.value)


def test_every_default_passes_its_own_check() -> None:
    default = Settings()
    environment = {
        field.name.upper(): str(getattr(default, field.name))
        for field in dataclasses.fields(Settings)
        if getattr(default, field.name) is not None
    }
    assert Settings.from_env(environment) == default


def _started(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ, "STATE_DIR": str(folder / "state"), "MODELS_DIR": str(folder / "models"),
        "PORT": "0", "METRICS_PORT": "0", "WORKERS": "1", **settings,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_bad_value_stops_the_start_with_one_line(tmp_path: Path) -> None:
    done = _started(tmp_path, WORKERS="many")
    assert done.returncode != 0
    assert done.stderr.strip().splitlines() == [
        "WORKERS='many' is not allowed: it must be a whole number from 1 to 256"
    ]


def test_a_state_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = _started(tmp_path, STATE_DIR=str(tmp_path / "file" / "state"))
    assert done.returncode != 0
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"STATE_DIR='{tmp_path}/file/state': 4 MB cannot be written there")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"HOST": "no-such-host.invalid"}, "HOST='no-such-host.invalid' is no address of this"),
        ({"HOST": "192.0.2.1"}, "HOST='192.0.2.1' is no address of this machine"),
        ({"METRICS_HOST": "192.0.2.1", "METRICS_PORT": "9"}, "METRICS_HOST='192.0.2.1' is no"),
        ({"PORT": "65000", "METRICS_PORT": "65000"}, "METRICS_PORT=65000 is PORT, too"),
        ({"MODELS_DIR": str(ROOT / "README.md")}, "README.md' is no folder"),
    ],
)
def test_what_cannot_be_listened_to_or_read_stops_the_start(
    tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    done = _started(tmp_path, **settings)
    assert done.returncode != 0
    assert says in done.stderr.strip().splitlines()[-1]


def test_a_port_that_is_taken_stops_the_start_once_nobody_lets_go_of_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = _started(tmp_path, PORT=str(port))
        assert done.returncode != 0
        line = done.stderr.strip().splitlines()[-1]
        assert line.startswith(f"PORT={port} on 127.0.0.1 cannot be listened to (Address already")
        letting_go = threading.Timer(0.5, other.close)
        letting_go.start()
        await_port(Settings(port=port))
        letting_go.join()


def test_two_servers_do_not_share_a_state(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        done = _started(tmp_path)
        assert done.returncode != 0
        line = done.stderr.strip().splitlines()[-1]
        assert f"belongs to a server that runs as process {server.master} on 127.0.0.1" in line
        assert server.get("/health").json()["workers"] == {
            "alive": 1, "serving": 1, "expected": 1,
        }  # fmt: skip
        settings = Settings(state_dir=tmp_path / "state")
        assert master(settings) == server.master
        server.stop(signal.SIGKILL)
        with pytest.raises(SettingsError, match="no server runs on"):
            master(settings)
        claim(Settings(state_dir=tmp_path / "state"), upgrades=False).drop()


def test_a_master_may_take_the_place_of_the_one_that_started_it(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    old = claim(settings, upgrades=False)
    new = claim(settings, upgrades=True)
    for held in (old, new):
        with pytest.raises(SettingsError, match=f"process {os.getpid()}"):
            claim(settings, upgrades=False)
        held.drop()
    claim(settings, upgrades=False).drop()


def test_it_starts_from_another_folder_and_on_an_ipv6_address(tmp_path: Path) -> None:
    port, metrics = free_port(), free_port()
    environ = {
        **os.environ, "HOST": "::1", "PORT": str(port), "WORKERS": "1", "BACKEND": "tflite",
        "METRICS_HOST": "::1", "METRICS_PORT": str(metrics),
    }  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "deploy/gunicorn.conf.py")],
            cwd=tmp_path, env=environ, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        for url in (f"http://[::1]:{port}/health/ready", f"http://[::1]:{metrics}/metrics"):
            assert _eventually_ok(url, process), (tmp_path / "log").read_text()
        assert (tmp_path / "var" / "state").is_dir()
    finally:
        process.terminate()
        process.wait(30)


def _eventually_ok(url: str, process: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(url, timeout=10).status_code == 200:
                return True
        time.sleep(0.1)
    return False


def test_a_device_that_is_not_there_stops_the_start_and_lists_what_there_is(
    tmp_path: Path,
) -> None:
    require_tool("pocl")
    done = _started(tmp_path, OPENCL_DEVICE="No Such Card")
    assert done.returncode != 0
    line = done.stderr.strip().splitlines()[-1]
    assert "OPENCL_DEVICE='No Such Card' matches none" in line
    assert "Portable Computing Language" in line
    assert "BACKEND=tflite" in line


@pytest.mark.parametrize(
    "settings",
    [
        {"OPENCL_DEVICE": "Portable", "BACKEND": "auto"},
        {"OPENCL_DEVICE": "No Such Card", "BACKEND": "tflite"},
    ],
)
def test_a_server_starts_with_its_device_and_without_one_that_it_does_not_use(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    require_tool("pocl")
    with Server(tmp_path, workers=1, **settings) as server:
        assert server.get("/health/live").status_code == 200

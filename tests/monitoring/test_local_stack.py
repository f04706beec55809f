"""make up-monitoring without Docker: ready when it returns, the same when run again, gone after."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.e2e.receiver import receiving
from tests.monitoring.running import ROOT, free_port
from tests.tools import require_tool


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    # Not the machine's Docker, should there be one: its client is hidden.
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    return os.environ | {
        "PATH": f"{docker.parent}:{os.environ['PATH']}",
        "MONITORING_DIR": str(tmp_path / "state"),
        "PROMETHEUS_PORT": str(free_port()), "ALERTMANAGER_PORT": str(free_port()),
        "NODE_EXPORTER_PORT": str(free_port()), "METRICS_PORT": str(free_port()),
    }  # fmt: skip


def stack(
    action: str, environ: dict[str, str], root: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "monitoring.stack", action], cwd=root,
                          env=environ, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=120)  # fmt: skip


def test_up_is_ready_and_idempotent_and_down_ends_it(environ: dict[str, str]) -> None:
    for tool in ("prometheus", "alertmanager", "node_exporter"):
        require_tool(tool)
    url = f"http://127.0.0.1:{environ['PROMETHEUS_PORT']}"
    try:
        first = stack("up", environ)
        assert first.returncode == 0, first.stderr
        assert f"{url}  started" in first.stdout
        assert requests.get(f"{url}/-/ready", timeout=5).ok
        again = stack("up", environ)
        assert again.stdout == first.stdout.replace("started", "was running")
        flags = requests.get(f"{url}/api/v1/status/flags", timeout=5).json()["data"]
        assert flags["storage.tsdb.retention.time"] == "30d"
        given = environ | {"SLACK_WEBHOOK_URL": "http://127.0.0.1:1/x"}
        assert "Slack             configured" in stack("configure", given).stdout
        reloaded = stack("reload", environ)
        assert reloaded.stdout.count("reloaded") == 2, reloaded.stderr
        manager = f"http://127.0.0.1:{environ['ALERTMANAGER_PORT']}/api/v2/status"
        assert "slack_configs" in requests.get(manager, timeout=5).json()["config"]["original"]
    finally:
        assert stack("down", environ).stdout.count("stopped") == 3
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/-/ready", timeout=5)
    assert stack("down", environ).stdout.count("was not running") == 3


def test_without_any_program_one_line_says_what_to_install(environ: dict[str, str]) -> None:
    found = stack("up", environ | {"PATH": environ["PATH"].split(":")[0]})
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1
    assert "apt-get install prometheus prometheus-alertmanager" in found.stderr


def test_a_taken_port_is_named(environ: dict[str, str]) -> None:
    require_tool("prometheus")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environ["PROMETHEUS_PORT"])))
        taken.listen()
        found = stack("up", environ)
    assert found.returncode == 1
    assert f"listens on 127.0.0.1:{environ['PROMETHEUS_PORT']}" in found.stderr
    assert "systemctl disable --now prometheus)" in found.stderr
    # Nothing was started.
    assert stack("down", environ).stdout.count("was not running") == 3


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give a copy of the project that may be damaged."""
    for part in ("deploy", "docs/runbooks", "monitoring"):
        shutil.copytree(ROOT / part, tmp_path / "copy" / part)
    return tmp_path / "copy"


@pytest.mark.parametrize(
    ("file", "good", "bad", "says"),
    [
        ("prometheus/alerts/gpu_alerts.yml", "> 85", "> 85)", "promtool refuses"),
        ("alertmanager/alertmanager.yml", "12h", "twelve", "amtool refuses"),
    ],
)
def test_a_broken_configuration_is_refused_and_the_old_one_stays(
    file: str, good: str, bad: str, says: str, copy: Path, environ: dict[str, str]
) -> None:
    for tool in ("prometheus", "alertmanager", "node_exporter"):
        require_tool(tool)
    state = Path(environ["MONITORING_DIR"])
    url = f"http://127.0.0.1:{environ['PROMETHEUS_PORT']}/api/v1/status/config"
    try:
        assert stack("up", environ, copy).returncode == 0
        before = {p: p.read_bytes() for p in state.rglob("*.yml")}
        running = requests.get(url, timeout=5).text
        path = copy / "deploy" / file
        path.write_text(path.read_text().replace(good, bad))
        for action in ("reload", "up"):
            found = stack(action, environ, copy)
            assert found.returncode == 1
            assert f"{says}" in found.stderr
            assert "nothing was changed" in found.stderr
            assert "Traceback" not in found.stderr
        assert {p: p.read_bytes() for p in state.rglob("*.yml")} == before
        assert requests.get(url, timeout=5).text == running
    finally:
        stack("down", environ)


def test_links_lead_where_people_reach_the_stack(
    environ: dict[str, str], docker: Path
) -> None:
    given = {"PROMETHEUS_URL": "https://ops.example/prom/", "GRAFANA_URL": "https://ops.example/g"}
    found = stack("up", environ | given | {"PORT": str(free_port())})
    assert "Grafana       https://ops.example/g " in found.stdout
    for path in (Path(environ["MONITORING_DIR"]) / "dashboards").glob("*.json"):
        board = json.loads(path.read_text())
        links = {v["name"]: v["query"] for v in board["templating"]["list"]}
        assert links["prometheus_url"] == "https://ops.example/prom"
        assert "localhost:9090" not in path.read_text()
    bad = stack("up", environ | {"PROMETHEUS_URL": "ops.example"})
    assert bad.stderr.startswith("up: PROMETHEUS_URL is 'ops.example', but must be an address")


@pytest.mark.parametrize("port", ["x", "0", "70000"])
def test_a_bad_port_is_named(port: str, environ: dict[str, str]) -> None:
    found = stack("up", environ | {"ALERTMANAGER_PORT": port})
    assert found.stderr == (
        f"up: ALERTMANAGER_PORT is {port!r}, but must be a port, 1 to 65535\n"
    )


@pytest.fixture
def docker(environ: dict[str, str], tmp_path: Path) -> Path:
    """Put a Docker in the place that only writes down what it is told."""
    log = tmp_path / "docker.log"
    stub = tmp_path / "bin/docker"
    stub.write_text(f'#!/bin/sh\necho "$@ alerting=$RX580_ALERTING" >> {log}\n')
    return log


def test_with_docker_compose_starts_everything(environ: dict[str, str], docker: Path) -> None:
    found = stack("up", environ | {"PORT": str(free_port())})
    assert found.returncode == 0, found.stderr
    command = docker.read_text().splitlines()[-1]
    assert "--profile monitoring up --detach --wait" in command
    # The receivers are rendered before Alertmanager starts.
    assert (Path(command.partition("alerting=")[2]) / "alertmanager.yml").exists()
    assert "Grafana       http://localhost:3000" in found.stdout
    assert "set GRAFANA_PASSWORD" in found.stdout
    assert stack("reload", environ).returncode == 0
    assert "kill --signal HUP prometheus alertmanager" in docker.read_text()
    assert stack("down", environ).returncode == 0
    assert "stop prometheus alertmanager grafana" in docker.read_text()


def test_compose_starts_no_second_api_beside_one_that_serves(
    environ: dict[str, str], docker: Path
) -> None:
    with receiving() as api:
        found = stack("up", environ | {"PORT": str(api.port)})
    assert found.returncode == 1
    assert "end it (Ctrl-C in make serve)" in found.stderr
    assert " up " not in docker.read_text()

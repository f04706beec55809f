"""docker-compose, podman-compose and hadolint accept what deploy/ ships."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tools import require_tool

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "deploy/docker-compose.yml"
TOOLS = Path(sys.executable).parent
MONITORING = {"prometheus", "alertmanager", "grafana", "node-exporter", "cadvisor"}


def config(*command: str | Path, path: str = "") -> dict[str, Any]:
    environ = os.environ | {"PATH": f"{path}:{os.environ['PATH']}"}
    run = subprocess.run([*command, "-f", FILE, "--profile", "monitoring", "config"],
                         capture_output=True, text=True, check=False, env=environ)  # fmt: skip
    assert run.returncode == 0, run.stderr
    text = run.stdout[run.stdout.index("services:") :]
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def test_docker_compose_accepts_the_file() -> None:
    require_tool("docker-compose")
    assert set(config("docker-compose")["services"]) == MONITORING | {"api"}


def test_podman_compose_accepts_the_file(tmp_path: Path) -> None:
    # It asks podman for its version before it reads anything; no engine is needed for that.
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\necho podman version 5.0.0\n")
    podman.chmod(0o755)
    assert set(config(TOOLS / "podman-compose", path=str(tmp_path))["services"]) > MONITORING


def test_hadolint_accepts_the_dockerfile() -> None:
    run = subprocess.run([TOOLS / "hadolint", ROOT / "deploy/Dockerfile"],
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("name", sorted(MONITORING | {"api"}))
def test_a_service_is_bounded_pinned_and_watched(name: str) -> None:
    service = yaml.safe_load(FILE.read_text())["services"][name]
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert service["container_name"] == f"rx580-{name}"  # what the container alerts look for
    assert re.search(r":(v?\d+\.\d+\.\d+|\$\{RX580_VERSION:-latest\})$", service["image"])
    assert service.get("profiles") == (["monitoring"] if name != "api" else None)
    if name != "cadvisor":
        assert service["cap_drop"] == ["ALL"]


def test_the_api_is_not_root_cannot_write_its_image_and_has_the_card() -> None:
    api = yaml.safe_load(FILE.read_text())["services"]["api"]
    assert api["user"].split(":")[0] not in ("0", "root")
    assert api["read_only"] is True
    assert api["devices"] == ["${RX580_DRI:-/dev/dri}:/dev/dri"]
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    final = dockerfile[dockerfile.rindex("FROM ") :]
    assert "g++" not in final
    assert "mesa-opencl-icd" in final
    assert "USER 10580" in final


def test_compose_and_the_scrape_targets_agree() -> None:
    services = yaml.safe_load(FILE.read_text())["services"]
    for path in (ROOT / "deploy/prometheus/targets").glob("*.yml"):
        for group in yaml.safe_load(path.read_text()):
            for target in group["targets"]:
                assert target.split(":")[0] in {*services, "localhost"}

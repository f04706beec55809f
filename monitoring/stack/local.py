"""The stack as local processes: the same configuration, other addresses."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from monitoring.stack import alerting
from monitoring.stack.process import Service, StackError

# Debian calls them prometheus-*; their makers do not.
PROGRAMS = {
    "prometheus": ("prometheus",),
    "alertmanager": ("prometheus-alertmanager", "alertmanager"),
    "node-exporter": ("prometheus-node-exporter", "node_exporter"),
}
NEEDED = ("prometheus", "alertmanager")


@dataclass(frozen=True)
class Options:
    """What can be chosen. Ports of 127.0.0.1; retention as Prometheus writes it (30d)."""

    root: Path
    state: Path
    prometheus: int = 9090
    alertmanager: int = 9093
    node_exporter: int = 9100
    api: str = "127.0.0.1:8000"
    exporter: str = "127.0.0.1:9101"
    cadvisor: str = ""
    retention: str = "30d"
    grafana_url: str = "http://localhost:3000"
    prometheus_url: str = "http://localhost:9090"
    alertmanager_url: str = "http://localhost:9093"
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def deploy(self) -> Path:
        """Where the shipped configuration is."""
        return self.root / "deploy"

    @property
    def alerting(self) -> Path:
        """Where the rendered Alertmanager configuration and its settings are."""
        return self.state / "alerting"


def program(name: str) -> str | None:
    """Find a program under any of its names."""
    return next((path for n in PROGRAMS[name] if (path := shutil.which(n))), None)


def missing() -> list[str]:
    """Name the programs without which there is no local stack."""
    return [name for name in NEEDED if program(name) is None]


def render(options: Options) -> None:
    """Write the configuration for local addresses below the state folder.

    Raises: StackError, AlertingError if it is not sound; what was there before stays then.
    """
    options.state.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=options.state) as draft:
        _write(options, Path(draft))
        check(Path(draft) / "prometheus.yml", options)
    settings = alerting.Settings.load(options.alerting / "settings.yml")
    alerting.install(options.deploy / "alertmanager", settings, options.alerting)
    _write(options, options.state / "prometheus")


def check(config: Path, options: Options) -> None:
    """Let promtool read a configuration and its rules, where it is installed.

    Raises: StackError with promtool's words.
    """
    if shutil.which("promtool") is None:
        return
    run = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True,
                         check=False, env=_environ(options))  # fmt: skip
    if run.returncode != 0:
        words = run.stderr.strip() or run.stdout.strip()
        raise StackError(f"promtool refuses deploy/prometheus, nothing was changed: {words}")


def _environ(options: Options) -> dict[str, str]:
    return {**options.environ, "GRAFANA_URL": options.grafana_url}


def _write(options: Options, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shipped = options.deploy / "prometheus"
    shutil.copy(shipped / "prometheus.yml", folder / "prometheus.yml")
    for part in ("rules", "alerts"):
        shutil.rmtree(folder / part, ignore_errors=True)
        shutil.copytree(shipped / part, folder / part)
    targets = folder / "targets"
    targets.mkdir(exist_ok=True)
    for job, address in _addresses(options).items():
        (targets / f"{job}.yml").write_text(
            yaml.safe_dump([{"targets": [address] if address else []}])
        )


def render_dashboards(options: Options) -> Path:
    """Write the dashboards with links to where people reach Prometheus and Alertmanager."""
    folder = options.state / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    links = {
        "prometheus_url": options.prometheus_url, "alertmanager_url": options.alertmanager_url,
    }  # fmt: skip
    for shipped in (options.deploy / "grafana/dashboards").glob("*.json"):
        board = json.loads(shipped.read_text())
        for variable in board["templating"]["list"]:
            if variable["name"] in links:
                variable["query"] = links[variable["name"]]
        (folder / shipped.name).write_text(json.dumps(board, indent=2))
    return folder


def _addresses(options: Options) -> dict[str, str]:
    node = program("node-exporter") is not None
    return {
        "api": options.api,
        "exporter": options.exporter,
        "prometheus": f"127.0.0.1:{options.prometheus}",
        "alertmanager": f"127.0.0.1:{options.alertmanager}",
        "node": f"127.0.0.1:{options.node_exporter}" if node else "",
        "cadvisor": options.cadvisor,
    }


def services(options: Options) -> list[Service]:
    """List the programs of the stack that are installed."""
    return [
        Service(name, [path, *flags], address, ready, options.state,
                _environ(options))
        for name, (flags, address, ready) in _services(options).items()
        if (path := program(name))
    ]  # fmt: skip


def _services(options: Options) -> dict[str, tuple[list[str], str, str]]:
    state = options.state
    prometheus = f"127.0.0.1:{options.prometheus}"
    alertmanager = f"127.0.0.1:{options.alertmanager}"
    node = f"127.0.0.1:{options.node_exporter}"
    return {
        "prometheus": ([
            f"--config.file={state}/prometheus/prometheus.yml",
            f"--storage.tsdb.path={state}/prometheus-data",
            f"--storage.tsdb.retention.time={options.retention}",
            f"--web.listen-address={prometheus}",
            f"--web.external-url={options.prometheus_url}",
            "--web.route-prefix=/",
            f"--web.console.templates={options.root}/docs/runbooks",
            "--enable-feature=expand-external-labels",
        ], prometheus, "/-/ready"),
        "alertmanager": ([
            f"--config.file={options.alerting}/alertmanager.yml",
            f"--storage.path={state}/alertmanager-data",
            "--cluster.listen-address=",
            f"--web.listen-address={alertmanager}",
            f"--web.external-url={options.alertmanager_url}",
            "--web.route-prefix=/",
        ], alertmanager, "/-/ready"),
        "node-exporter": ([f"--web.listen-address={node}"], node, "/metrics"),
    }  # fmt: skip

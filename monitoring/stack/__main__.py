"""Run the monitoring: python -m monitoring.stack up | down | reload | configure."""

from __future__ import annotations

import argparse
import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from monitoring.stack import alerting, local
from monitoring.stack.process import StackError, answers

ROOT = Path(__file__).parent.parent.parent


def main() -> int:
    """Do what the command line says; one clear line if it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=sorted(ACTIONS))
    action = parser.parse_args().action
    try:
        ACTIONS[action](_options(os.environ))
    except (StackError, alerting.AlertingError, subprocess.CalledProcessError) as error:
        print(f"{action}: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        what, who = error.filename or "a process", getpass.getuser()
        print(f"{action}: {what} is not for {who}, perhaps another user started the stack: go on "
              "as that user, or choose another MONITORING_DIR", file=sys.stderr)  # fmt: skip
        return 1
    return 0


def up(options: local.Options) -> None:
    """Start everything, wait until it is ready, print where it is. Again: nothing changes."""
    if _has_docker():
        _refuse_second_api(options)
        _compose(options, "up", "--detach", "--wait")
        print(f"Grafana       {options.grafana_url}   (dashboards: RX 580 API)")
        if "GRAFANA_PASSWORD" not in options.environ:
            print("  its password is admin: set GRAFANA_PASSWORD before anybody else can reach it")
        print(f"Prometheus    {options.prometheus_url}\nAlertmanager  {options.alertmanager_url}")
        return
    lacking = local.missing()
    if lacking:
        raise StackError(
            "neither Docker nor "
            + " and ".join(lacking)
            + " is here; install Docker with the compose plugin, or: "
            "apt-get install prometheus prometheus-alertmanager prometheus-node-exporter"
        )
    local.render(options)
    services = local.services(options)
    for service in services:
        service.refuse_others()
    for service in services:
        started = service.start()
        print(f"{service.name:14}{service.url}  {'started' if started else 'was running'}")
    for service in services:
        service.wait()
    if "node-exporter" not in {service.name for service in services}:
        print("node-exporter is not installed, so there are no figures of the host "
              "(apt-get install prometheus-node-exporter)")  # fmt: skip
    print("grafana       not among the local processes; with Docker it starts too. Or import "
          "deploy/grafana/dashboards/*.json into your own")  # fmt: skip
    print(f"runbooks      http://localhost:{options.prometheus}/consoles/APIDown.md, one per alert")
    print(f"logs          {options.state}/*.log")


def down(options: local.Options) -> None:
    """Stop everything that up started; data stays."""
    if _has_docker():
        _compose(options, "stop", *_COMPOSE_SERVICES)
    for service in local.services(options):
        print(f"{service.name:14}{'stopped' if service.stop() else 'was not running'}")


def reload(options: local.Options) -> None:
    """Check the configuration, then let the running programs read it."""
    if _has_docker():
        local.check(options.deploy / "prometheus/prometheus.yml", options)
        _render_alerting(options)
        _compose(options, "kill", "--signal", "HUP", "prometheus", "alertmanager")
        return
    local.render(options)
    for service in local.services(options):
        if service.name != "node-exporter":
            print(f"{service.name:14}{'reloaded' if service.reload() else 'is not running'}")


def configure(options: local.Options) -> None:
    """Ask for the receivers (or read them from the environment), check and render."""
    path = options.alerting / "settings.yml"
    settings = alerting.Settings.load(path).merged(options.environ)
    if sys.stdin.isatty():
        settings = _ask(settings)
    alerting.check(settings)
    settings.store(path)
    print(f"rendered {_render_alerting(options)}")
    for kind, name in (("Slack", "SLACK_WEBHOOK_URL"), ("Discord", "DISCORD_WEBHOOK_URL"),
                       ("e-mail", "SMTP_TO"), ("dead man's switch", "WATCHDOG_URL")):  # fmt: skip
        print(f"  {kind:18}{'configured' if name in settings else f'left out ({name} is not set)'}")


def _ask(settings: alerting.Settings) -> alerting.Settings:
    print("Enter keeps what is in brackets, - removes it.")
    answers = dict(settings)
    for name, question in alerting.QUESTIONS.items():
        shown = "kept" if question.secret and name in answers else answers.get(name, "")
        ask = getpass.getpass if question.secret else input
        answer = ask(f"{question.about} ({name}) [{shown}]: ").strip()
        answers[name] = answer or answers.get(name, "")
    return alerting.Settings({k: v for k, v in answers.items() if v and v != "-"})


def _render_alerting(options: local.Options) -> Path:
    settings = alerting.Settings.load(options.alerting / "settings.yml")
    return alerting.install(options.deploy / "alertmanager", settings, options.alerting)


_COMPOSE_SERVICES = ("prometheus", "alertmanager", "grafana", "node-exporter", "cadvisor")


def _has_docker() -> bool:
    # The client alone is no help: the daemon has to answer.
    if shutil.which("docker") is None:
        return False
    return all(
        subprocess.run(command, capture_output=True, check=False).returncode == 0
        for command in (["docker", "compose", "version"], ["docker", "info"])
    )


def _refuse_second_api(options: local.Options) -> None:
    if answers(f"http://{options.api}/health/live") and not _compose(options, "ps", "-q", "api"):
        raise StackError(
            f"an API that Docker did not start answers on {options.api}, and compose would start "
            "another there; end it (Ctrl-C in make serve), then try again"
        )


def _compose(options: local.Options, *arguments: str) -> str:
    if arguments[0] == "up":
        local.check(options.deploy / "prometheus/prometheus.yml", options)
        _render_alerting(options)
        local.render_dashboards(options)
    environ = {
        **options.environ,
        "RX580_ALERTING": str(options.alerting.absolute()),
        "RX580_DASHBOARDS": str((options.state / "dashboards").absolute()),
        "RX580_UID": str(os.getuid()),
        "RX580_GID": str(os.getgid()),
    }
    command = ["docker", "compose", "--project-name", "rx580", "--file",
               str(options.deploy / "docker-compose.yml"), "--profile", "monitoring"]  # fmt: skip
    quiet = subprocess.PIPE if arguments[0] == "ps" else None
    run = subprocess.run([*command, *arguments], check=True, env=environ, stdout=quiet, text=True)
    return run.stdout or ""


def _options(environ: Mapping[str, str]) -> local.Options:
    prometheus = _port(environ, "PROMETHEUS_PORT", 9090)
    alertmanager = _port(environ, "ALERTMANAGER_PORT", 9093)
    return local.Options(
        root=ROOT,
        state=Path(environ.get("MONITORING_DIR") or ROOT / "var/monitoring").absolute(),
        api=f"127.0.0.1:{environ.get('PORT') or 8000}",
        exporter=f"127.0.0.1:{environ.get('METRICS_PORT') or 9101}",
        retention=environ.get("PROMETHEUS_RETENTION") or "30d",
        grafana_url=_url(environ, "GRAFANA_URL", "http://localhost:3000"),
        environ=environ,
        prometheus=prometheus,
        alertmanager=alertmanager,
        prometheus_url=_url(environ, "PROMETHEUS_URL", f"http://localhost:{prometheus}"),
        alertmanager_url=_url(environ, "ALERTMANAGER_URL", f"http://localhost:{alertmanager}"),
        node_exporter=_port(environ, "NODE_EXPORTER_PORT", 9100),
    )


def _url(environ: Mapping[str, str], name: str, default: str) -> str:
    text = environ.get(name) or default
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StackError(f"{name} is {text!r}, but must be an address such as {default}")
    return text.rstrip("/")


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isdigit() and 0 < int(text) < 65536):
        raise StackError(f"{name} is {text!r}, but must be a port, 1 to 65535")
    return int(text)


ACTIONS = {"up": up, "down": down, "reload": reload, "configure": configure}

if __name__ == "__main__":
    sys.exit(main())

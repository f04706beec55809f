"""Where alerts go: the receivers' settings, kept outside the repository, and their rendering.

Alertmanager expands no environment variables, and its *_file options differ between 0.25 and 0.28
(for Discord they fail before 0.28), so the shipped file is rendered: receivers that are configured
are added, the others left out. The result holds secrets and is readable by its owner only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import yaml

CRITICAL, WARNINGS, WATCHDOG = "critical", "warnings", "watchdog"


@dataclass(frozen=True)
class Question:
    """One thing that can be configured. pattern: what a value has to look like."""

    about: str
    pattern: str
    allowed: str
    default: str = ""
    secret: bool = False


_URL = r"https?://[^\s${}]+"
QUESTIONS = {
    "SLACK_WEBHOOK_URL": Question("Slack incoming webhook", _URL, "an http(s) URL", secret=True),
    "SLACK_CHANNEL_CRITICAL": Question("Slack channel for critical alerts", r"[#@]\S+",
                                       "#channel or @person", "#alerts-critical"),
    "SLACK_CHANNEL_WARNINGS": Question("Slack channel for warnings", r"[#@]\S+",
                                       "#channel or @person", "#alerts-warnings"),
    "DISCORD_WEBHOOK_URL": Question("Discord webhook", _URL, "an http(s) URL", secret=True),
    "SMTP_SMARTHOST": Question("mail server", r"[A-Za-z0-9.-]+:\d{1,5}", "host:port",
                               "smtp.gmail.com:587"),
    "SMTP_FROM": Question("mail: from", r"[^@\s]+@[^@\s]+", "an address"),
    "SMTP_TO": Question("mail: to", r"[^@\s]+@[^@\s]+(,\s*[^@\s]+@[^@\s]+)*", "addresses"),
    "SMTP_USERNAME": Question("mail: user", r"\S+", "a name without spaces"),
    "SMTP_PASSWORD": Question("mail: password (Gmail: an app password)", r".+", "a password",
                              secret=True),
    "WATCHDOG_URL": Question("URL of the dead man's switch", _URL, "an http(s) URL", secret=True),
}  # fmt: skip


class AlertingError(ValueError):
    """The alerting's settings do not fit; the message says which, and what is allowed."""


class Settings(dict[str, str]):
    """Answers by question; empty ones are left out."""

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read what was stored, if anything was."""
        stored = yaml.safe_load(path.read_text()) if path.exists() else {}
        return cls({k: str(v) for k, v in (stored or {}).items() if v})

    def merged(self, environ: Mapping[str, str]) -> Settings:
        """Give these settings with what the environment says; a value of - removes one."""
        given = {name: environ[name] for name in QUESTIONS if environ.get(name)}
        return Settings({k: v for k, v in (self | given).items() if v != "-"})

    def store(self, path: Path) -> None:
        """Keep them, readable by the owner only."""
        _write_private(path, yaml.safe_dump(dict(self)))


def check(settings: Settings) -> None:
    """Find what Alertmanager's own check would let pass.

    Raises: AlertingError that names every bad value.
    """
    faults = []
    for name, value in settings.items():
        question = QUESTIONS.get(name)
        if question is None:
            faults.append(f"{name} is unknown; known are {', '.join(QUESTIONS)}")
        elif not re.fullmatch(question.pattern, value):
            shown = "(hidden)" if question.secret else repr(value)
            faults.append(f"{name} is {shown}, but must be {question.allowed}")
    discord = settings.get("DISCORD_WEBHOOK_URL", "")
    if urlsplit(discord).path.endswith("/slack"):
        faults.append("DISCORD_WEBHOOK_URL ends in /slack; leave that off: discord_configs speaks "
                      "Discord's own format")  # fmt: skip
    mail = {"SMTP_FROM", "SMTP_TO"}
    if mail & set(settings) and not mail <= set(settings):
        faults.append("SMTP_FROM and SMTP_TO are needed both for e-mail")
    if "SMTP_PASSWORD" in settings and "SMTP_USERNAME" not in settings:
        faults.append("SMTP_PASSWORD is there, so SMTP_USERNAME is needed too")
    if faults:
        raise AlertingError("; ".join(faults))


def render(shipped: Path, settings: Settings, target: Path) -> Path:
    """Write the configuration with the configured receivers, and the templates beside it.

    Raises: AlertingError as check() does.
    """
    check(settings)
    config = yaml.safe_load((shipped / "alertmanager.yml").read_text())
    for receiver in config["receivers"]:
        receiver.update(_integrations(receiver["name"], settings))
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(shipped / "templates", target / "templates", dirs_exist_ok=True)
    path = target / "alertmanager.yml"
    _write_private(path, yaml.safe_dump(config, sort_keys=False))
    return path


def install(shipped: Path, settings: Settings, target: Path) -> Path:
    """Render where Alertmanager reads it, once amtool has accepted a draft of it.

    Raises: AlertingError as check() and validate() do; what was there before stays then.
    """
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target) as draft:
        validate(render(shipped, settings, Path(draft)))
    return render(shipped, settings, target)


def validate(path: Path) -> None:
    """Let amtool read the rendered file, where it is installed.

    Raises: AlertingError with amtool's words.
    """
    if shutil.which("amtool") is None:
        return
    run = subprocess.run(["amtool", "check-config", path], capture_output=True, text=True,
                         check=False)  # fmt: skip
    if run.returncode != 0:
        words = f"{run.stdout.strip()} {run.stderr.strip()}"
        raise AlertingError(f"amtool refuses the configuration, nothing was changed: {words}")


def _integrations(receiver: str, settings: Settings) -> dict[str, Any]:
    if receiver == WATCHDOG:
        url = settings.get("WATCHDOG_URL")
        # No all-clear: the beat simply stops.
        return {"webhook_configs": [{"url": url, "send_resolved": False}]} if url else {}
    made: dict[str, Any] = {}
    if "SLACK_WEBHOOK_URL" in settings:
        made["slack_configs"] = [_slack(receiver, settings)]
    if "DISCORD_WEBHOOK_URL" in settings:
        # Not webhook_configs with a /slack URL: that sends Alertmanager's own JSON, in which
        # Discord finds no message and answers 400.
        made["discord_configs"] = [{
            "webhook_url": settings["DISCORD_WEBHOOK_URL"],
            "title": '{{ template "rx580.title" . }}',
            "message": '{{ template "rx580.discord" . }}',
            "send_resolved": True,
        }]  # fmt: skip
    if "SMTP_TO" in settings:
        made["email_configs"] = [_mail(settings)]
    return made


def _slack(receiver: str, settings: Settings) -> dict[str, Any]:
    channel = f"SLACK_CHANNEL_{'CRITICAL' if receiver == CRITICAL else 'WARNINGS'}"
    return {
        "api_url": settings["SLACK_WEBHOOK_URL"],
        "channel": settings.get(channel, QUESTIONS[channel].default),
        "title": '{{ template "rx580.title" . }}',
        "text": '{{ template "rx580.slack" . }}',
        "color": '{{ if eq .Status "firing" }}'
        '{{ if eq .CommonLabels.severity "critical" }}danger{{ else }}warning{{ end }}'
        "{{ else }}good{{ end }}",
        "send_resolved": True,
    }


def _mail(settings: Settings) -> dict[str, Any]:
    mail: dict[str, Any] = {
        "to": settings["SMTP_TO"],
        "from": settings["SMTP_FROM"],
        "smarthost": settings.get("SMTP_SMARTHOST", QUESTIONS["SMTP_SMARTHOST"].default),
        "headers": {"subject": '{{ template "rx580.title" . }}'},
        "html": '{{ template "rx580.email" . }}',
        "send_resolved": True,
    }
    if "SMTP_USERNAME" in settings:
        mail["auth_username"] = settings["SMTP_USERNAME"]
        mail["auth_password"] = settings.get("SMTP_PASSWORD", "")
    return mail


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    beside.replace(path)

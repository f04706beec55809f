"""Every alert reaches its receiver, the configuration is sound, and what follows is silenced."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.stack import alerting
from tests.rules.test_alert_rules import ALERTS, ROOT, RULES
from tests.tools import require_tool

SHIPPED = ROOT / "deploy/alertmanager"
CONFIG = yaml.safe_load((SHIPPED / "alertmanager.yml").read_text())
RECEIVERS = {"critical": "critical", "warning": "warnings", "none": "watchdog"}

FULL = alerting.Settings(
    SLACK_WEBHOOK_URL="https://hooks.slack.example/services/T/B/secret",
    DISCORD_WEBHOOK_URL="https://discord.example/api/webhooks/1/secret",
    SMTP_FROM="alerts@example.org", SMTP_TO="oncall@example.org", SMTP_USERNAME="alerts",
    SMTP_PASSWORD="app password", WATCHDOG_URL="https://beat.example/x",
)  # fmt: skip


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    require_tool("promtool")
    monkeypatch.setenv("GRAFANA_URL", "http://localhost:3000")
    run("promtool", "check", "config", ROOT / "deploy/prometheus/prometheus.yml")
    run("promtool", "check", "rules", *RULES)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: r["alert"])
def test_an_alert_reaches_its_receiver(rule: dict[str, Any]) -> None:
    require_tool("amtool")
    labels = [f"{k}={v}" for k, v in (rule["labels"] | {"alertname": rule["alert"]}).items()]
    receiver = RECEIVERS[rule["labels"]["severity"]]
    run("amtool", "config", "routes", "test", f"--config.file={SHIPPED / 'alertmanager.yml'}",
        f"--verify.receivers={receiver}", *labels)  # fmt: skip


@pytest.mark.parametrize("left_out", ["", "SLACK_WEBHOOK_URL", "DISCORD_WEBHOOK_URL", "SMTP_TO",
                                      "WATCHDOG_URL", "all"])  # fmt: skip
def test_whatever_is_configured_amtool_accepts_it(left_out: str, tmp_path: Path) -> None:
    require_tool("amtool")
    settings = alerting.Settings({} if left_out == "all" else FULL)
    settings.pop(left_out, None)
    if left_out == "SMTP_TO":
        settings.pop("SMTP_FROM")
    path = alerting.render(SHIPPED, settings, tmp_path)
    alerting.validate(path)
    assert path.stat().st_mode & 0o777 == 0o600
    receivers = {r["name"]: r for r in yaml.safe_load(path.read_text())["receivers"]}
    wanted = {"slack_configs": "SLACK_WEBHOOK_URL", "discord_configs": "DISCORD_WEBHOOK_URL",
              "email_configs": "SMTP_TO"}  # fmt: skip
    for name in ("critical", "warnings"):
        there = {kind for kind, setting in wanted.items() if setting in settings}
        assert set(receivers[name]) - {"name"} == there
        assert all(c["send_resolved"] for kind in there for c in receivers[name][kind])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SLACK_WEBHOOK_URL", "${SLACK}", "SLACK_WEBHOOK_URL is (hidden), but must be"),
        ("SMTP_SMARTHOST", "${HOST}:587", "SMTP_SMARTHOST is '${HOST}:587', but must be host:port"),
        ("SMTP_SMARTHOST", "smtp.gmail.com", "must be host:port"),
        ("DISCORD_WEBHOOK_URL", "https://discord.example/api/webhooks/1/x/slack", "leave that off"),
        ("SMTP_USERNAME", "a b", "SMTP_USERNAME"),
        ("SMTP_FROM", "", "SMTP_FROM and SMTP_TO are needed both"),
        ("NONSENSE", "1", "NONSENSE is unknown"),
    ],
)  # fmt: skip
def test_what_amtool_would_let_pass_is_found(name: str, value: str, words: str) -> None:
    settings = alerting.Settings(FULL | {name: value})
    if not value:
        del settings[name]
    with pytest.raises(alerting.AlertingError) as error:
        alerting.check(settings)
    assert words in str(error.value)
    assert "secret" not in str(error.value)


def silenced(source: dict[str, str], target: dict[str, str]) -> bool:
    """Apply the shipped inhibit rules as Alertmanager does."""

    def fits(matchers: list[str], labels: dict[str, str]) -> bool:
        for matcher in matchers:
            parts = re.fullmatch(r'(\w+)(=~|!=|=)"(.*)"', matcher)
            assert parts is not None
            name, operator, value = parts.groups()
            have = labels.get(name, "")
            found = bool(re.fullmatch(value, have)) if operator == "=~" else have == value
            if found == (operator == "!="):
                return False
        return True

    return any(
        fits(rule["source_matchers"], source) and fits(rule["target_matchers"], target)
        and all(source.get(n, "") == target.get(n, "") for n in rule.get("equal", []))
        for rule in CONFIG["inhibit_rules"]
    )  # fmt: skip


def labels(name: str, **more: str) -> dict[str, str]:
    rule = next(rule for rule in ALERTS if rule["alert"] == name)
    return rule["labels"] | {"alertname": name} | more


@pytest.mark.parametrize(
    ("source", "target", "silent"),
    [
        ("CriticalErrorRate", "HighErrorRate", True),
        ("LatencyBudgetBurnsFast", "HighLatency", True),
        ("AvailabilityBudgetBurnsFast", "AvailabilityBudgetBurnsSlowly", True),
        ("WorkersCrashLooping", "WorkersMissing", True),
        ("CriticalErrorRate", "HighLatency", False),
        ("GPULost", "GPUFallenBackToCPU", True),
        ("APIDown", "WorkersCrashLooping", True),
        ("APIDown", "GPULost", True),
        ("APIDown", "APIDown", False),
        ("APIDown", "Watchdog", False),
        ("APIDown", "ContainerDown", False),
        ("APIDown", "HostDiskFilling", False),
    ],
)
def test_a_cause_silences_what_follows_from_it(source: str, target: str, silent: bool) -> None:
    assert silenced(labels(source), labels(target)) is silent


def test_api_down_silences_its_own_targets_only() -> None:
    down = labels("APIDown")
    assert silenced(down, labels("PrometheusTargetDown", job="rx580-api-probe"))
    assert not silenced(down, labels("PrometheusTargetDown", job="node"))


def test_critical_is_told_at_once_and_warnings_in_groups() -> None:
    by_receiver = {route["receiver"]: route for route in CONFIG["route"]["routes"]}
    assert by_receiver["critical"]["group_wait"] == "0s"
    assert by_receiver["critical"]["group_interval"] == "15s"
    assert CONFIG["route"]["group_wait"] == "30s"
    assert CONFIG["route"]["repeat_interval"] == "12h"

"""Every alert fires when it should, not before, resolves, and is quiet on everything else."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.catalogue import CATALOGUE
from tests.rules.cases import CASES, JOB, Case
from tests.rules.series import counter, gauge
from tests.tools import require_tool

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy/prometheus"
RULES = sorted([*(FOLDER / "rules").glob("*.yml"), *(FOLDER / "alerts").glob("*.yml")])
# The windows of days cost most of the time, and only the budget alerts read them.
QUICK_RULES = [path for path in RULES if not path.stem.startswith("slo")]
BUDGET_RULES = [path for path in RULES if path.stem.startswith("slo") or "_rules" in path.stem]
ALERTS = [
    rule
    for path in RULES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
SPARSE = 30
"""Seconds between samples where nothing shorter than a minute matters."""

ALWAYS = {case.alert for case in CASES if case.always}

CONTRACT = {
    "HighErrorRate": ("warning", "2m"), "CriticalErrorRate": ("critical", "1m"),
    "HighLatency": ("warning", "5m"), "APIDown": ("critical", "1m"),
    "HighRequestRate": ("warning", "2m"), "ModelLoadFailures": ("warning", "1m"),
    "SlowInference": ("warning", "5m"), "HighMemoryUsage": ("warning", "5m"),
    "ContainerRestarting": ("warning", "0m"), "ContainerDown": ("critical", "1m"),
    "PrometheusTargetDown": ("warning", "2m"),
}  # fmt: skip


def firing(minutes: float, alert: str, count: int) -> dict[str, Any]:
    """Make promtool's expectation that so many series of an alert fire (of any, if empty)."""
    name = f'alertname="{alert}"' if alert else f'alertname!~"{"|".join(ALWAYS)}"'
    return {
        "expr": f'count(ALERTS{{alertstate="firing",{name}}}) or vector(0)',
        "eval_time": f"{round(minutes * 60)}s",
        "exp_samples": [{"labels": "{}", "value": count}],
    }


def promtool(folder: Path, series: dict[str, str], expected: list[dict[str, Any]],
             step: int = 15, rules: list[Path] | None = None) -> None:  # fmt: skip
    """Let the shipped rules work on the series and compare."""
    require_tool("promtool")
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({
        "rule_files": [str(path) for path in rules or RULES],
        "evaluation_interval": f"{step}s",
        "tests": [{
            "interval": f"{step}s",
            "input_series": [{"series": s, "values": v} for s, v in series.items()],
            "promql_expr_test": expected,
        }],
    }))  # fmt: skip
    run = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.alert} {c.name}".strip())
def test_an_alert_fires_in_time_and_resolves(case: Case, tmp_path: Path) -> None:
    promtool(
        tmp_path,
        case.series,
        [
            firing(9.5, case.alert, int(case.always)),
            firing(case.early, case.alert, int(case.always)),
            firing(case.firing, case.alert, 1),
            firing(case.resolved, case.alert, int(case.always)),
        ],
        case.step,
        BUDGET_RULES if "Budget" in case.alert else QUICK_RULES,
    )


BAD = {
    "rx580_model_load_failures_total", "rx580_model_loads_failed_total",
    "rx580_golden_checks_total", "rx580_device_faults_total",
    "rx580_inference_rejected_total", "rx580_inference_dropped_total",
    "rx580_device_suspect_workers", "rx580_shadow_difference_ratio", "rx580_metrics_files_broken",
    "rx580_inference_queue_depth",
}  # fmt: skip


def every_series(rate: float) -> dict[str, str]:
    """Give a healthy server with a card: every metric of the catalogue, restarted after an hour."""
    jobs = ("rx580-api", "rx580-api-probe", "prometheus", "alertmanager")
    series = {f'up{{job="{job}",instance="a:1"}}': gauge((120, 1), step=SPARSE) for job in jobs}
    for spec in CATALOGUE.values():
        values = {"status": "200", "reason": "requested"}
        labels = ",".join([JOB, *(f'{label}="{values.get(label, 1)}"' for label in spec.labels)])
        grows = 0 if spec.name in BAD else rate
        if spec.kind == "counter":
            series[f"{spec.name}{{{labels}}}"] = counter((60, grows), (60, -grows), step=SPARSE)
        elif spec.kind == "gauge":
            # Half of all that can be full.
            value = 2 if spec.name.endswith("_total_bytes") else int(spec.name not in BAD)
            series[f"{spec.name}{{{labels}}}"] = gauge((120, value), step=SPARSE)
        else:
            for part, extra in (("bucket", ',le="0.05"'), ("bucket", ',le="1.0"'),
                                ("bucket", ',le="+Inf"'), ("count", "")):  # fmt: skip
                values_text = counter((60, rate), (60, -rate), step=SPARSE)
                series[f"{spec.name}_{part}{{{labels}{extra}}}"] = values_text
    return series


@pytest.mark.parametrize("rate", [0, 0.01, 3], ids=["idle", "hardly used", "busy"])
def test_health_makes_no_alert_even_at_restarts(rate: float, tmp_path: Path) -> None:
    times = (5, 20, 59, 60, 60.5, 61, 63, 66, 75, 119)
    promtool(tmp_path, every_series(rate), [firing(minute, "", 0) for minute in times], SPARSE)


def test_a_server_without_card_or_host_metrics_is_quiet(tmp_path: Path) -> None:
    card = ("rx580_gpu", "rx580_device", "rx580_golden")
    series = {s: v for s, v in every_series(1).items() if not s.startswith(card)}
    promtool(tmp_path, series, [firing(minute, "", 0) for minute in (5, 60.5, 119)], SPARSE)


def test_with_no_series_at_all_the_api_is_down_and_nothing_else_fires(tmp_path: Path) -> None:
    expected = [firing(30, "", 1), firing(30, "APIDown", 1), firing(30, "Watchdog", 1)]
    promtool(tmp_path, {"nothing": gauge((60, 1))}, expected)


QUIET: list[tuple[str, str, dict[str, str]]] = [
    ("HighErrorRate", "4 % of errors", {
        f'rx580_http_requests_total{{{JOB},handler="/i",status="200"}}': counter((60, 1.92)),
        f'rx580_http_requests_total{{{JOB},handler="/i",status="500"}}': counter((60, 0.08)),
    }),
    ("CriticalErrorRate", "a probe that is told to wait", {
        f'rx580_http_requests_total{{{JOB},handler="/health/ready",status="503"}}':
            counter((60, 1)),
        f'rx580_http_requests_total{{{JOB},handler="/i",status="200"}}': counter((60, 1)),
    }),
    ("CriticalErrorRate", "one failed request at night", {
        f'rx580_http_requests_total{{{JOB},handler="/i",status="500"}}':
            counter((30, 0), (1, 1 / 60), (29, 0)),
    }),
    ("ModelLoadFailures", "three failures are allowed", {
        f'rx580_model_load_failures_total{{{JOB},model="m",reason="error"}}':
            counter((10, 0), (1, 3 / 60), (49, 0)),
    }),
    ("WorkersCrashLooping", "planned restarts", {
        f'rx580_worker_exits_total{{{JOB},reason="max_requests"}}': counter((60, 1)),
    }),
    ("APIDown", "the probe times out while callers are answered", {
        'up{job="rx580-api-probe",instance="a:1"}': gauge((60, 0)),
        'up{job="rx580-api",instance="a:1"}': gauge((60, 1)),
        f'rx580_http_requests_total{{{JOB},handler="/i",status="200"}}': counter((60, 5)),
    }),
    ("APIDown", "one server of two is gone", {
        'up{job="rx580-api-probe",instance="a:1"}': gauge((60, 1)),
        'up{job="rx580-api-probe",instance="b:1"}': gauge((60, 0)),
        'up{job="rx580-api",instance="a:1"}': gauge((60, 1)),
        'up{job="rx580-api",instance="b:1"}': gauge((60, 0)),
    }),
    ("APIDown", "nobody calls an API that lives", {
        'up{job="rx580-api-probe",instance="a:1"}': gauge((60, 1)),
        'up{job="rx580-api",instance="a:1"}': gauge((60, 1)),
        f'rx580_http_requests_total{{{JOB},handler="/i",status="200"}}': gauge((60, 7)),
    }),
    ("APIDown", "only the exporter is gone", {
        'up{job="rx580-api-probe",instance="a:1"}': gauge((60, 1)),
        'up{job="rx580-api",instance="a:1"}': gauge((60, 0)),
    }),
    ("HighMemoryUsage", "with a card its memory counts", {
        f'rx580_gpu_vram_used_bytes{{{JOB},card="card0"}}': gauge((60, 1e9)),
        f'rx580_worker_resident_bytes{{{JOB},worker="0"}}': gauge((60, 9e9)),
    }),
    ("GPULost", "the whole server is gone", {
        f'rx580_gpu_vram_total_bytes{{{JOB},card="card0"}}': gauge((10, 8e9), (50, None)),
        f"up{{{JOB}}}": gauge((10, 1), (50, 0)),
    }),
    ("GPUThrottling", "an idle card clocks down", {
        f'rx580_gpu_clock_hertz{{{JOB},card="card0",clock="core"}}': gauge((60, 3e8)),
        f'rx580_gpu_clock_max_hertz{{{JOB},card="card0",clock="core"}}': gauge((60, 1.3e9)),
        f'rx580_gpu_busy_ratio{{{JOB},card="card0"}}': gauge((60, 0)),
    }),
]  # fmt: skip


@pytest.mark.parametrize(
    ("alert", "series"), [pytest.param(a, s, id=f"{a}: {name}") for a, name, s in QUIET]
)
def test_an_alert_stays_quiet(alert: str, series: dict[str, str], tmp_path: Path) -> None:
    times = (11, 13, 16, 20, 32, 45, 59)
    promtool(
        tmp_path, series, [firing(minute, alert, 0) for minute in times], rules=QUICK_RULES
    )


def test_every_alert_has_a_story() -> None:
    assert {case.alert for case in CASES} == {rule["alert"] for rule in ALERTS}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    folder = ROOT / "docs/runbooks"
    assert {path.stem for path in folder.glob("*.md")} == {rule["alert"] for rule in ALERTS}
    for path in folder.glob("*.md"):
        text = path.read_text()
        # Prometheus serves these files as templates at /consoles.
        assert "{{" not in text
        for heading in ("Meaning", "Impact", "How to check", "How to mend", "How to silence"):
            assert f"\n## {heading}\n" in text, f"{path.name} lacks {heading}"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: r["alert"])
def test_an_alert_tells_what_to_do(rule: dict[str, Any]) -> None:
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert f"/consoles/{rule['alert']}.md" in annotations["runbook_url"]
    assert "{{" in annotations["description"]
    assert set(rule["labels"]) == {"severity", "service", "symptom"}
    assert rule["labels"]["severity"] in ("critical", "warning", "none")


def test_the_contract_is_kept() -> None:
    found = {rule["alert"]: (rule["labels"]["severity"], rule["for"]) for rule in ALERTS}
    assert {name: found[name] for name in CONTRACT} == CONTRACT

"""The committed dashboards are what the code makes, keep good habits and name known metrics."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.catalogue import CATALOGUE
from monitoring.dashboards import build
from monitoring.dashboards.panel import thresholds
from tests.tools import require_tool

ROOT = Path(__file__).parent.parent.parent
BOARDS = {board.file: json.loads((build.FOLDER / board.file).read_text()) for board in build.BOARDS}
RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml")) + sorted(
    (ROOT / "deploy/prometheus/alerts").glob("*.yml")
)


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


PANELS = [(name, panel) for name, board in BOARDS.items() for panel in panels(board)]


def expressions() -> Iterator[str]:
    for _, panel in PANELS:
        yield from (target["expr"] for target in panel["targets"])
    for board in BOARDS.values():
        yield from (a["expr"] for a in board["annotations"]["list"] if a.get("expr"))


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def runbook_queries() -> Iterator[str]:
    for path in (ROOT / "docs/runbooks").glob("*.md"):
        yield from re.findall(r"--data-urlencode query='([^']*)'", path.read_text())


def concrete(expr: str) -> str:
    """Put values in the place of Grafana's variables."""
    for name, value in (("__rate_interval", "1m"), ("job", ".*"), ("model", ".*"), ("card", ".*")):
        expr = expr.replace(f"${name}", value)
    return expr


@pytest.mark.parametrize("board", build.BOARDS, ids=lambda b: b.file)
def test_the_file_is_what_the_code_makes(board: Any) -> None:
    assert (build.FOLDER / board.file).read_text() == build.render(board)


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_survives_the_round_trip(name: str) -> None:
    register_default_plugins()
    again = json.dumps(Dashboard.from_json(BOARDS[name]), cls=JSONEncoder)
    assert json.loads(again) == BOARDS[name]


def test_the_overview_keeps_its_contract() -> None:
    board = BOARDS["api-overview.json"]
    assert (board["uid"], board["refresh"]) == ("rx580-api-overview", "5s")
    wanted = {"Request Rate", "Error Rate", "P95 Latency", "Models Loaded",
              "Request Rate by Status", "Response Latency Percentiles"}  # fmt: skip
    assert wanted <= {panel["title"] for panel in panels(board)}


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_links_to_its_siblings_and_shows_alerts_and_restarts(name: str) -> None:
    board = BOARDS[name]
    assert board["editable"] is False
    assert any(link["type"] == "dashboards" and link["keepTime"] and link["includeVars"]
               for link in board["links"])  # fmt: skip
    assert {"datasource", "job"} <= {v["name"] for v in board["templating"]["list"]}
    annotations = {a["name"] for a in board["annotations"]["list"]}
    assert {"Alerts", "Server restarts"} <= annotations
    titles = [panel["title"] for panel in panels(board)]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize(
    "panel", [pytest.param(panel, id=f"{name}: {panel['title']}") for name, panel in PANELS]
)
def test_a_panel_has_good_habits(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["noValue"]
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert target["legendFormat"]
        expr = target["expr"]
        assert target["datasource"]["uid"] == "${datasource}"
        assert not re.search(r"\b(rate|irate)\([^()]*\[(?!\$__rate_interval)", expr), expr
        if "rx580_" in expr and "job:" not in expr:
            assert 'job=~"$job"' in expr, expr


def test_every_expression_is_promql(tmp_path: Path) -> None:
    require_tool("promtool")
    texts = [*map(concrete, expressions()), *runbook_queries()]
    records = [{"record": f"check:{n}", "expr": text} for n, text in enumerate(texts)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
    run = subprocess.run(["promtool", "check", "rules", "--lint=none", file],
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


# Our metrics, and recorded series: level:metric:operations.
NAME = r"\b(?:\w+:)?rx580_\w+(?::\w+)?|\b\w+:slo_\w+:\w+|\bslo:\w+:\w+"


def names_in(expr: str) -> set[str]:
    without_strings = re.sub(r'"[^"]*"', '""', expr)
    return set(re.findall(NAME, without_strings))


def test_rules_and_panels_use_known_names_only_and_leave_no_metric_unused() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    series = {name: spec.name for spec in CATALOGUE.values() for name in spec.series}
    texts = [*expressions(), *(rule["expr"] for rule in rules())]
    used = set().union(*map(names_in, texts))
    assert used - recorded - set(series) == set()
    in_runbooks = set().union(*map(names_in, runbook_queries())) - {"rx580_gpu_"}
    assert in_runbooks - recorded - set(series) == set()
    assert {series[name] for name in used if name in series} == set(CATALOGUE)
    assert recorded - used == set()


def test_thresholds_of_panels_are_the_alerts() -> None:
    known = thresholds()
    assert {"HighErrorRate": 0.05, "CriticalErrorRate": 0.1, "HighLatency": 0.1,
            "SlowInference": 1, "HighMemoryUsage": 7e9, "HighRequestRate": 100,
            "ModelLoadFailures": 3, "ContainerRestarting": 2}.items() <= known.items()  # fmt: skip
    error_rate = next(p for _, p in PANELS if p["title"] == "Error Rate")
    steps = error_rate["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, 0.05, 0.1]

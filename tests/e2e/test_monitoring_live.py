"""gunicorn, Prometheus, Alertmanager and a receiver, all real but the receiver: alerts arrive."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from monitoring.dashboards import build
from tests.e2e import pictures
from tests.e2e.receiver import Receiver, receiving
from tests.e2e.stack import FASTER, ROOT, Server, Stack, Traffic, running, told
from tests.monitoring.running import wait_for
from tests.tools import require_tool

pytestmark = pytest.mark.timeout(400)

VARIABLES = {"$__rate_interval": "10s", "$job": ".*", "$model": ".*", "$card": ".*"}

CALLERS = "rx580_http_requests_total{handler!~'/metrics|/health.*'}"

@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for tool in ("pocl", "prometheus", "alertmanager", "node_exporter"):
        require_tool(tool)
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stack(server: Server, receiver: Receiver, folder: Path) -> Iterator[Stack]:
    with running(server, receiver, folder / "monitoring") as stack:
        # What has not been seen at 0 cannot be seen to grow.
        wait_for(lambda: stack.value('max(up{job="rx580-api"})') == stack.value("min(up)") == 1)
        yield stack


@pytest.fixture(scope="module")
def script() -> Path:
    return pictures.bundle(Path.home() / ".cache/rx580-inference")


def draw(stack: Stack, script: Path, moment: str, seconds: float,
         moment_at: float) -> dict[str, dict[str, int]]:  # fmt: skip
    """Keep a picture of every dashboard under reports/; give the lines drawn by panel."""
    folder = ROOT / "reports/panels"
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{stack.options.prometheus}"
    # One moment for all of them: drawing takes a while, in which traffic has ended.
    end = float(int(moment_at))
    return {
        board.file: pictures.draw(
            json.loads((build.FOLDER / board.file).read_text()), url, concrete, end - seconds,
            end, script, folder / f"{board.uid}-{moment}.png",
        )
        for board in build.BOARDS
    }  # fmt: skip


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for board in build.BOARDS:
        for panel in json.loads((build.FOLDER / board.file).read_text())["panels"]:
            if panel["type"] != "row":
                yield board.file, panel


def concrete(expr: str) -> str:
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    return expr


def test_targets_rules_and_alertmanagers_are_known_and_no_rule_fails(stack: Stack) -> None:
    base = f"http://127.0.0.1:{stack.options.prometheus}/api/v1"
    rules = requests.get(f"{base}/rules", timeout=10).json()["data"]["groups"]
    faults = [r for group in rules for r in group["rules"] if r.get("lastError")]
    assert faults == []
    managers = requests.get(f"{base}/alertmanagers", timeout=10).json()["data"]
    assert len(managers["activeAlertmanagers"]) == 1
    runbook = requests.get(
        f"http://127.0.0.1:{stack.options.prometheus}/consoles/APIDown.md", timeout=10
    )
    assert runbook.text.startswith("# APIDown")


def test_a_model_that_breaks_is_reported(
    server: Server, stack: Stack, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = server.models / "broken/1"
    bad.mkdir(parents=True)
    (bad / "model.tflite").write_bytes(b"\0" * 1000)
    start = time.monotonic()
    # Faster than Prometheus looks: the model's own series is born with all of them.
    statuses = {server.post("/models/broken/load") for _ in range(5)}
    assert not {s for s in statuses if s < 400}, statuses
    for kind in ("slack", "discord"):
        message = receiver.wait(kind, ("ModelLoadFailures", "consoles/ModelLoadFailures.md"), 60)
        assert "error expanding" not in message.text
        assert "broken: invalid_model" in message.text
    told(capsys, "ModelLoadFailures arrived after", start)


def test_every_panel_has_data_under_traffic_and_the_numbers_are_the_callers(
    server: Server, stack: Stack, script: Path
) -> None:
    counted_before = stack.value(f"sum({CALLERS})")
    with Traffic(server) as traffic:
        asked = [server.post(f"/models/second/{what}") for what in ("unload", "load")]
        steady, seen_before = time.monotonic(), traffic.seen.total()
        time.sleep(15)
        empty, infinite = [], []
        for file, panel in panels():
            for target in panel["targets"]:
                result = stack.query(concrete(target["expr"]))
                if not result:
                    empty.append(f"{file}: {panel['title']}: {concrete(target['expr'])}")
                infinite += [panel["title"] for r in result if r["value"][1] in ("NaN", "+Inf")]
        rate = stack.value(f"sum(rate({CALLERS}[10s]))")
        p95 = stack.value(concrete(
            next(p for _, p in panels() if p["title"] == "P95 Latency")["targets"][0]["expr"]))
        busy = time.time()
        expected = (traffic.seen.total() - seen_before) / (time.monotonic() - steady)
    assert empty == []
    assert infinite == []
    assert asked == [200, 200]
    sent = traffic.seen.total()
    assert traffic.seen[200] + traffic.seen[404] == sent
    assert rate == pytest.approx(expected, rel=0.4)
    assert p95 is not None
    assert 0 < p95 < 5
    wait_for(lambda: stack.value(f"sum({CALLERS})")
             == (counted_before or 0) + sent + len(asked))  # fmt: skip
    drawn = draw(stack, script, "traffic", 30, busy)
    assert drawn["api-overview.json"]["Request Rate by Status"] == 3
    assert drawn["system.json"]["GPU Temperature"] == 2
    inferred = stack.value('sum(rx580_inference_requests_total{model="digits",outcome="ok"})')
    assert inferred is not None
    assert inferred <= traffic.seen[200]
    assert stack.value('sum(rx580_http_requests_total{handler="unmatched"})') == traffic.seen[404]
    assert inferred > 0.5 * traffic.seen[200]
    shadowed = stack.value("sum(rx580_shadow_requests_total)")
    assert shadowed is not None
    assert 0 < shadowed < inferred
    assert stack.value('sum(rx580_backend_workers{backend="opencl"})') == 2
    assert stack.value("max(rx580_shadow_difference_ratio)") == pytest.approx(0, abs=1)
    checks = stack.query("sum by (result) (rx580_golden_checks_total) > 0")
    assert {check["metric"]["result"] for check in checks} == {"pass"}


def test_api_down_arrives_and_resolves(
    server: Server, stack: Stack, receiver: Receiver, script: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    start = time.monotonic()
    server.stop()
    down = receiver.wait("slack", ("APIDown", "probe", "since"), 60, start)
    told(capsys, f"APIDown arrived (for: 1m shortened by {FASTER}) after", start)
    receiver.wait("discord", ("APIDown", "since"), 10, start)
    assert "error expanding" not in down.text
    blank = []
    for _, panel in panels():
        if panel["type"] == "stat":
            nothing = not stack.query(concrete(panel["targets"][0]["expr"]))
            if nothing and not panel["fieldConfig"]["defaults"]["noValue"]:
                blank.append(panel["title"])
    assert blank == []
    assert stack.value('max(up{job="rx580-api-probe"})') == 0
    p95 = next(p for _, p in panels() if p["title"] == "P95 Latency")["targets"][0]["expr"]
    wait_for(lambda: stack.query(concrete(p95)) == [])
    time.sleep(2)  # pictures are of whole seconds
    drawn = draw(stack, script, "outage", 60, time.time())
    assert drawn["api-overview.json"]["API"] == 1  # it says Unreachable, the others No traffic
    assert drawn["api-overview.json"]["P95 Latency"] == 0
    start = time.monotonic()
    server.start()
    receiver.wait("slack", ("resolved", "APIDown"), 60, start)
    receiver.wait("discord", ("resolved", "APIDown"), 10, start)
    told(capsys, "the all-clear arrived after the start within", start)
    # While the API was down, its other alerts were silenced.
    texts = [message.text for message in receiver.messages if message.kind == "slack"]
    assert not [text for text in texts if "PrometheusTargetDown" in text and "since" in text]
    assert receiver.refused == []


def test_an_api_that_takes_connections_and_never_answers_is_down(
    server: Server, stack: Stack, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_for(lambda: stack.value('max(up{job="rx580-api-probe"})') == 1)
    start = time.monotonic()
    with server.hung():
        receiver.wait("slack", ("APIDown", "probe", "since"), 60, start)
        told(capsys, "APIDown arrived when every worker hung after", start)
        # The exporter lives on, and says so.
        assert stack.value('max(up{job="rx580-api"})') == 1
    receiver.wait("slack", ("resolved", "APIDown"), 60, start)


def test_the_watchdog_beats(stack: Stack, receiver: Receiver) -> None:
    # Last: what fires before Prometheus has found Alertmanager is sent again after a minute.
    receiver.wait("watchdog", ("Watchdog",), 70)

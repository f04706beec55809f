"""What a panel is, before it is Grafana's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parent.parent.parent / "deploy"

# One colour has one meaning on every dashboard.
GOOD, WARNING, BAD, NEUTRAL = "green", "orange", "red", "blue"
COLOURS = {
    "2xx": GOOD, "4xx": WARNING, "5xx": BAD,
    "P50": GOOD, "P95": WARNING, "P99": BAD,
    "desired": NEUTRAL, "limit": BAD, "failed": BAD,
}  # fmt: skip


@dataclass(frozen=True)
class Query:
    """A PromQL expression and how its series are called; `legend` may hold {{label}}."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel. Units as Grafana names them; width in 24ths of the page.

    alert: the alert whose threshold is drawn; states: (from, colour) where no alert has one.
    empty: what is shown when there is no number, which is not the same as zero.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 12
    alert: str = ""
    states: tuple[tuple[float, str], ...] = ()
    empty: str = "No data"
    texts: tuple[tuple[str, str], ...] = ()
    stacked: bool = False
    minimum: float | None = 0
    maximum: float | None = None


@dataclass(frozen=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """A dashboard. variables: name -> (label, PromQL of label_values, may be several)."""

    uid: str
    file: str
    title: str
    description: str
    refresh: str
    rows: tuple[Row, ...]
    variables: tuple[tuple[str, str, str, bool], ...] = ()


def stat(title: str, description: str, unit: str, expr: str, **options: object) -> Panel:
    """Make a panel of one large number."""
    return Panel(title, description, unit, (Query(expr, title),), kind="stat",
                 **({"width": 4} | options))  # type: ignore[arg-type]  # fmt: skip


def graph(title: str, description: str, unit: str, *queries: tuple[str, str],
          **options: object) -> Panel:  # fmt: skip
    """Make a panel of lines over time from (expression, legend) pairs."""
    return Panel(title, description, unit, tuple(Query(*query) for query in queries),
                 **options)  # type: ignore[arg-type]  # fmt: skip


def quantiles(metric: str, labels: str, by: str = "") -> tuple[tuple[str, str], ...]:
    """Give P50, P95 and P99 of a histogram."""
    grouped = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    rate = f"sum by ({grouped}) (rate({metric}_bucket{{{labels}}}[$__rate_interval]))"
    return tuple((quantile(q, rate), f"P{q}{legend}") for q in (50, 95, 99))


def quantile(percent: int, rate: str) -> str:
    """Give a quantile of bucket rates, and nothing, rather than NaN, when nothing happened."""
    return f"histogram_quantile(0.{percent}, {rate}) >= 0"


@cache
def thresholds() -> dict[str, float]:
    """Read the alerts' thresholds from the shipped rules, so that panels cannot drift."""
    found = {}
    for path in sorted((DEPLOY / "prometheus/alerts").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                match = re.search(r"[<>]\s*([\d.]+(?:e\d+)?)\s*$", rule["expr"])
                if match:
                    found[rule["alert"]] = float(match[1])
    return found

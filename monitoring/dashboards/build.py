"""Make Grafana's JSON: python -m monitoring.dashboards.build [--check]."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d

from monitoring.dashboards import models, overview, system
from monitoring.dashboards.panel import (
    BAD,
    COLOURS,
    DEPLOY,
    GOOD,
    NEUTRAL,
    WARNING,
    Board,
    Panel,
    Query,
    thresholds,
)

BOARDS = (overview.BOARD, models.BOARD, system.BOARD)
FOLDER = DEPLOY / "grafana/dashboards"
SOURCE = d.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "rx580"

# Where links lead; make up-monitoring puts PROMETHEUS_URL and ALERTMANAGER_URL in their place.
ADDRESSES = {
    "prometheus_url": "http://localhost:9090", "alertmanager_url": "http://localhost:9093",
}  # fmt: skip
HEIGHTS = {"stat": 4, "timeseries": 8}

_COUNTS = ("short", "reqps", "percentunit")

# Where an alert has a critical twin, the panel shows both edges.
_TWINS = {"HighErrorRate": "CriticalErrorRate"}


def render(board: Board) -> str:
    """Give the dashboard as the text of its file."""
    made = _dashboard(board).build()
    return json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _dashboard(board: Board) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .refresh(board.refresh)
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(d.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard_source())
        .with_variable(_variable("job", "Job", "label_values(rx580_build_info, job)", False))
        .link(
            dashboard.DashboardLink("RX 580 dashboards")
            .type(d.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .link(_link("Alerts", "${alertmanager_url}"))
        .link(_link("Runbooks", "${prometheus_url}/alerts"))
    )
    for name, address in ADDRESSES.items():
        made = made.with_variable(dashboard.ConstantVariable(name).value(address))
    for name, label, query, several in board.variables:
        made = made.with_variable(_variable(name, label, query, several))
    for name, colour, expr in _ANNOTATIONS:
        made = made.annotation(
            dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True)
            .icon_color(colour).expr(expr)
        )  # fmt: skip
    for row in board.rows:
        made = made.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            made = made.with_panel(_panel(panel))
    return made


_ANNOTATIONS = (
    ("Alerts", BAD, 'ALERTS{alertstate="firing",severity=~"warning|critical"}'),
    ("Server restarts", NEUTRAL, 'resets(rx580_worker_starts_total{job=~"$job"}[1m]) > 0'),
    ("Worker deaths", WARNING, 'sum by (reason) (increase(rx580_worker_exits_total{job=~"$job",'
     'reason=~"killed|crashed|timeout|boot_failed"}[1m])) > 0'),
)  # fmt: skip


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(title)
        .type(d.DashboardLinkType.LINK)
        .url(url)
        .icon("external link")
        .target_blank(True)
    )


def dashboard_source() -> dashboard.DatasourceVariable:
    """Let the reader choose the Prometheus."""
    return dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def _variable(name: str, label: str, query: str, several: bool) -> dashboard.QueryVariable:
    made = (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(SOURCE)
        .refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(d.VariableSort.ALPHABETICAL_ASC)
        .include_all(True)
        .all_value(".*")
    )
    return made.multi(True) if several else made


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    made = _stat(panel) if panel.kind == "stat" else _timeseries(panel)
    made = (
        made.title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .no_value(panel.empty)
        .span(panel.width)
        .height(HEIGHTS[panel.kind])
        .thresholds(_steps(panel))
    )
    if panel.minimum is not None:
        made = made.min(panel.minimum)
    if panel.maximum is not None:
        made = made.max(panel.maximum)
    if panel.alert:
        made = made.links([_link(f"Runbook: {panel.alert}",
                                 f"${{prometheus_url}}/consoles/{panel.alert}.md")])  # fmt: skip
    for number, query in enumerate(panel.queries):
        target = _target(query, "ABCDEFGH"[number])
        # A range would show the last number from before an outage as if it were the present one.
        made = made.with_target(target.instant() if panel.kind == "stat" else target.range())
    return made


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(query.expr)
        .legend_format(query.legend)
        .ref_id(letter)
    )


def _stat(panel: Panel) -> stat.Panel:
    made = (
        stat.Panel()
        .graph_mode(c.BigValueGraphMode.NONE)
        .color_mode(c.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.THRESHOLDS))
    )
    if panel.texts:
        options = {value: d.ValueMappingResult(text=text) for value, text in panel.texts}
        made = made.mappings([d.ValueMap(options=options)])
    return made


def _timeseries(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        # A stacked line of zeros would be drawn in its own colour on top of the others' height.
        .line_width(0 if panel.stacked else 1)
        .fill_opacity(60 if panel.stacked else 5)
        .show_points(c.VisibilityMode.NEVER)
        .span_nulls(False)
        .color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .legend(common.VizLegendOptions().display_mode(c.LegendDisplayMode.TABLE)
                .placement(c.LegendPlacement.BOTTOM).show_legend(True)
                .calcs(["lastNotNull", "max"]))
        .tooltip(common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI)
                 .sort(c.SortOrder.DESCENDING))
    )  # fmt: skip
    if panel.unit in _COUNTS:
        # Grafana draws a line of zeros on a scale up to 100.
        made = made.axis_soft_max(1)
    if panel.stacked:
        made = made.stacking(common.StackingConfig().mode(c.StackingMode.NORMAL).group("A"))
    if panel.alert:
        made = made.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(c.GraphThresholdsStyleMode.DASHED)
        )
    for legend in (query.legend for query in panel.queries):
        colour = COLOURS.get(legend.rpartition(" ")[2])
        if colour:
            matcher = d.MatcherConfig(id_val="byRegexp", options=f"/(^| ){legend.split()[-1]}$/")
            fixed = {"mode": "fixed", "fixedColor": colour}
            made = made.with_override(matcher, [d.DynamicConfigValue(id_val="color", value=fixed)])
    return made


def _steps(panel: Panel) -> dashboard.ThresholdsConfig:
    edges = list(panel.states) or _alert_edges(panel.alert)
    first, *rest = edges
    steps = [d.Threshold(value=None, color=first[1])]
    steps += [d.Threshold(value=value, color=colour) for value, colour in rest]
    assert all(a[0] < b[0] for a, b in pairwise(edges))
    return dashboard.ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(steps)


def _alert_edges(alert: str) -> list[tuple[float, str]]:
    if not alert:
        return [(float("-inf"), NEUTRAL)]
    edges = [(float("-inf"), GOOD), (thresholds()[alert], WARNING)]
    twin = _TWINS.get(alert)
    return [*edges, (thresholds()[twin], BAD)] if twin else edges


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with --check say which differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail if one differs")
    check = parser.parse_args(arguments).check
    stale = []
    for board in BOARDS:
        path, text = FOLDER / board.file, render(board)
        if not path.exists() or path.read_text() != text:
            stale.append(path.name)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    if check and stale:
        print(f"not as generated: {', '.join(stale)}; run python -m monitoring.dashboards.build",
              file=sys.stderr)  # fmt: skip
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())

"""API overview: is it up, how much traffic, how many errors, how slow."""

from __future__ import annotations

from monitoring.dashboards.panel import (
    BAD,
    GOOD,
    NEUTRAL,
    WARNING,
    Board,
    Row,
    graph,
    quantile,
    quantiles,
    stat,
)

ALL = 'job=~"$job"'
USERS = f'{ALL},handler!~"/metrics|/health.*|/v2/health.*|.*/ready"'
RATE = "[$__rate_interval]"
REQUESTS = "rx580_http_requests_total"
SECONDS = "rx580_http_request_duration_seconds"


def _status(pattern: str) -> str:
    # No series of a class is a rate of 0 as long as the server is there.
    return (f'sum(rate({REQUESTS}{{{ALL},status=~"{pattern}"}}{RATE})) '
            f"or 0 * sum(rate({REQUESTS}{{{ALL}}}{RATE}))")  # fmt: skip


ERROR_RATIO = (
    f'(sum(rate({REQUESTS}{{{USERS},status=~"5.."}}{RATE})) '
    f"or 0 * sum(rate({REQUESTS}{{{USERS}}}{RATE}))) "
    f"/ (sum(rate({REQUESTS}{{{USERS}}}{RATE})) > 0)"
)
P95 = quantile(95, f"sum by (le) (rate({SECONDS}_bucket{{{USERS}}}{RATE}))")
SLOWEST = quantile(95, f"sum by (le, handler) (rate({SECONDS}_bucket{{{ALL}}}{RATE}))")

NOW = Row("Now", (
    stat("API", "Whether Prometheus' probe through the API is answered.", "none",
         'max(up{job="rx580-api-probe"})', states=((0, BAD), (1, GOOD)),
         texts=(("0", "Unreachable"), ("1", "Up")), empty="Not monitored"),
    stat("Request Rate", "Requests answered per second, probes included.", "reqps",
         f"sum(rate({REQUESTS}{{{ALL}}}{RATE}))", alert="HighRequestRate", empty="Unreachable"),
    stat("Error Rate", "Share of requests answered with a 5xx; probes and health checks left out.",
         "percentunit", ERROR_RATIO, alert="HighErrorRate", empty="No traffic"),
    stat("P95 Latency", "95 % of the requests are answered within this time; probes and health "
         "checks left out.", "s", P95, alert="HighLatency", empty="No traffic"),
    stat("Models Loaded", "Model versions that every worker serves.", "short",
         f"min(rx580_models_ready{{{ALL}}})", states=((0, WARNING), (1, GOOD)),
         empty="Unreachable"),
    stat("Firing Alerts", "Alerts that fire now, the watchdog left out.", "short",
         'count(ALERTS{alertstate="firing",severity!="none"}) or vector(0)',
         states=((0, GOOD), (1, WARNING)), empty="0"),
))  # fmt: skip

TRAFFIC = Row("Traffic", (
    graph("Request Rate by Status", "Requests per second by class of status: 5xx is our fault, "
          "4xx the caller's.", "reqps", (_status("2.."), "2xx"), (_status("4.."), "4xx"),
          (_status("5.."), "5xx"), stacked=True),
    graph("Response Latency Percentiles", "Time from arrival to the first byte of the answer; "
          "probes and health checks left out.", "s", *quantiles(SECONDS, USERS),
          alert="HighLatency", empty="No traffic"),
    graph("Request Rate by Route", "The busiest routes.", "reqps",
          (f"topk(10, sum by (handler) (rate({REQUESTS}{{{ALL}}}{RATE})))", "{{handler}}")),
    graph("P95 Latency by Route", "The slowest routes.", "s",
          (f"topk(10, {SLOWEST})", "{{handler}}"),
          alert="HighLatency", empty="No traffic"),
    graph("Requests in Flight", "Requests that are being answered at the moment.", "short",
          (f"sum(rx580_http_requests_in_flight{{{ALL}}})", "in flight")),
    graph("Body Bytes", "Bytes of bodies received and sent per second.", "Bps",
          (f"sum(rate(rx580_http_request_body_bytes_total{{{ALL}}}{RATE}))", "received"),
          (f"sum(rate(rx580_http_response_body_bytes_total{{{ALL}}}{RATE}))", "sent")),
))  # fmt: skip

OBJECTIVES = Row("Objectives", (
    graph("Error Budget Burn", "How many times faster than allowed the budget of 30 days is "
          "spent: above 14.4 somebody is called.", "none",
          (f"job:slo_errors:ratio_rate1h{{{ALL}}} / on (slo) group_left slo:error_budget:ratio",
           "{{slo}} over 1 h"),
          (f"job:slo_errors:ratio_rate6h{{{ALL}}} / on (slo) group_left slo:error_budget:ratio",
           "{{slo}} over 6 h"), states=((0, GOOD), (6, WARNING), (14.4, BAD)),
          empty="No traffic"),
    graph("Alerts", "Alerts that fired, by name.", "short",
          ('sum by (alertname) (ALERTS{alertstate="firing",severity!="none"}) '
           "or sum by (alertname) (0 * ALERTS{alertname=\"Watchdog\"})", "{{alertname}}"),
          empty="None"),
))  # fmt: skip

WORKERS = Row("Workers", (
    graph("Workers", "Workers alive, and how many there should be.", "short",
          (f"sum(rx580_workers{{{ALL}}})", "alive"),
          (f"sum(rx580_workers_desired{{{ALL}}})", "desired")),
    graph("Worker Starts and Exits", "Per 5 minutes, by reason. max_requests and requested are "
          "planned.", "short",
          (f"sum(increase(rx580_worker_starts_total{{{ALL}}}[5m]))", "started"),
          (f"sum by (reason) (increase(rx580_worker_exits_total{{{ALL}}}[5m]))",
           "ended: {{reason}}"), states=((0, GOOD), (3, WARNING))),
    graph("Memory by Worker", "Resident memory of each worker, by slot.", "bytes",
          (f"sum by (worker) (rx580_worker_resident_bytes{{{ALL}}})", "worker {{worker}}"),
          stacked=True, alert="HighMemoryUsage"),
    graph("CPU by Worker", "Cores used by each worker, by slot.", "short",
          (f"sum by (worker) (rate(rx580_worker_cpu_seconds_total{{{ALL}}}{RATE}))",
           "worker {{worker}}"), stacked=True),
    graph("Open Descriptors by Worker", "Files and sockets that each worker holds open.", "short",
          (f"sum by (worker) (rx580_worker_open_fds{{{ALL}}})", "worker {{worker}}")),
    graph("Build", "Which version runs, and since when.", "short",
          (f"count by (version, python) (rx580_build_info{{{ALL}}})",
           "{{version}} on Python {{python}}"), states=((0, NEUTRAL),)),
))  # fmt: skip

BOARD = Board(
    uid="rx580-api-overview",
    file="api-overview.json",
    title="RX 580 API / Overview",
    description="Is the API up, how much does it do, how much of it fails, how long does it take.",
    refresh="5s",
    rows=(NOW, TRAFFIC, OBJECTIVES, WORKERS),
)

"""Models: what is served, where time goes, what is refused, whether the answers can be trusted."""

from __future__ import annotations

from monitoring.dashboards.panel import (
    BAD,
    GOOD,
    WARNING,
    Board,
    Row,
    graph,
    quantile,
    quantiles,
    stat,
)

JOB = 'job=~"$job"'
ALL = f'{JOB},model=~"$model"'
RATE = "[$__rate_interval]"
FAILURES = f"rx580_model_load_failures_total{{{ALL}}}"


def _per_second(metric: str, by: str, labels: str = ALL) -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}{RATE}))"


def _p95(metric: str, by: str) -> str:
    return quantile(95, f"sum by (le, {by}) (rate({metric}_bucket{{{ALL}}}{RATE}))")


def _mean(metric: str, by: str) -> str:
    return (f"sum by ({by}) (rate({metric}_sum{{{ALL}}}{RATE})) "
            f"/ (sum by ({by}) (rate({metric}_count{{{ALL}}}{RATE})) > 0)")  # fmt: skip


NOW = Row("Now", (
    stat("Desired", "Model versions that every worker should serve.", "short",
         f"max(rx580_models_desired{{{JOB}}})", empty="Unreachable"),
    stat("Ready", "Model versions that the worker with the fewest serves.", "short",
         f"min(rx580_models_ready{{{JOB}}})", empty="Unreachable"),
    stat("Missing", "Desired, but not served by every worker.", "short",
         f"max(job_instance:rx580_models:missing{{{JOB}}})", states=((0, GOOD), (1, BAD)),
         empty="Unreachable"),
    stat("Inference Rate", "Inferences per second.", "reqps",
         f"sum(rate(rx580_inference_requests_total{{{ALL}}}{RATE}))", empty="No traffic"),
    stat("P95 Inference", "95 % of the runs take less than this, queueing excluded.", "s",
         quantile(95, f"sum by (le) (rate(rx580_inference_run_seconds_bucket{{{ALL}}}{RATE}))"),
         alert="SlowInference", empty="No traffic"),
    stat("Load Failures", "Loads that failed within 10 minutes.", "short",
         f"sum(round(increase(rx580_model_loads_failed_total{{{JOB}}}[10m]))) or vector(0)",
         alert="ModelLoadFailures", empty="0"),
))  # fmt: skip

INFERENCE = Row("Inference", (
    graph("Inference Rate by Model", "Requests per second that reached a model, by outcome.",
          "reqps", (_per_second("rx580_inference_requests_total", "model, outcome"),
                    "{{model}} {{outcome}}"), empty="No traffic"),
    graph("Inference Time Percentiles", "Compute time of Session.run, queueing excluded.", "s",
          *quantiles("rx580_inference_run_seconds", ALL), alert="SlowInference",
          empty="No traffic"),
    graph("P95 Inference by Model and Backend", "Which model is slow, and where it runs.", "s",
          (_p95("rx580_inference_run_seconds", "model, backend"), "{{model}} on {{backend}}"),
          alert="SlowInference", empty="No traffic"),
    graph("Queue and Compute", "Mean time of a request in the queue and in compute, by model.",
          "s", (_mean("rx580_inference_queue_seconds", "model"), "{{model}} waits"),
          (_mean("rx580_inference_run_seconds", "model"), "{{model}} computes"),
          empty="No traffic"),
    graph("P95 Queue Time", "95 % of the requests wait less than this for their batch.", "s",
          (_p95("rx580_inference_queue_seconds", "model"), "{{model}}"), empty="No traffic"),
    graph("Mean Batch Size", "Rows that one run computes.", "short",
          (_mean("rx580_inference_batch_size", "model"), "{{model}}"), empty="No traffic"),
))  # fmt: skip

LOAD = Row("Load", (
    graph("Queue Depth", "Requests that wait, and how many may.", "short",
          (f"sum by (model) (rx580_inference_queue_depth{{{ALL}}})", "{{model}}"),
          (f"sum by (model) (rx580_inference_queue_limit{{{ALL}}})", "{{model}} limit")),
    graph("Queue Saturation", "Share of the queue in use; beyond 1 callers get 503.",
          "percentunit", (f"job_model:rx580_inference_queue:saturation{{{ALL}}}", "{{model}}"),
          alert="QueueSaturated"),
    graph("Requests Refused", "Refused at the door per second, by reason.", "reqps",
          (_per_second("rx580_inference_rejected_total", "reason", JOB), "{{reason}}")),
    graph("Requests Dropped", "Dropped unrun per second: too late, or the caller hung up.",
          "reqps", (_per_second("rx580_inference_dropped_total", "reason", JOB), "{{reason}}")),
    graph("Response Cache", "Answers from the cache and misses per second.", "reqps",
          (f"sum(rate(rx580_cache_hits_total{{{ALL}}}{RATE})) or vector(0)", "hits"),
          (f"sum(rate(rx580_cache_misses_total{{{ALL}}}{RATE})) or vector(0)", "misses"),
          empty="Off"),
))  # fmt: skip

LIFE = Row("Models", (
    graph("Workers by Model and Backend", "How many workers serve a model, and on what.", "short",
          (f"sum by (model, version, backend) (rx580_model_sessions{{{ALL}}})",
           "{{model}} {{version}} on {{backend}}")),
    graph("Memory by Model", "Weights, arenas and staging in all workers together.", "bytes",
          (f"sum by (model, version) (rx580_model_memory_bytes{{{ALL}}})",
           "{{model}} {{version}}"), stacked=True),
    # Not increase(): a model is loaded once, and a series that is born at 1 has not increased.
    graph("P95 Load Time", "From reading the file to published; successful loads since the server "
          "started.", "s",
          (quantile(95, f"sum by (le, model) (rx580_model_load_seconds_bucket{{{ALL}}})"),
           "{{model}}"), empty="No loads"),
    graph("Load Failures by Reason", "Failed loads in 10 minutes, by model and reason.", "short",
          (f"sum by (model, reason) ({FAILURES} - ({FAILURES} offset 10m or 0 * {FAILURES})) > 0",
           "{{model}}: {{reason}}"),
          (f"sum(increase(rx580_model_loads_failed_total{{{JOB}}}[10m])) or vector(0)", "all"),
          alert="ModelLoadFailures"),
    graph("Unloads", "Models unloaded in 10 minutes, by reason.", "short",
          (f"sum by (reason) (increase(rx580_model_unloads_total{{{JOB}}}[10m]))",
           "{{reason}}")),
    graph("Models Ready by Worker", "Model versions that each worker serves, and the goal.",
          "short", (f"sum by (worker) (rx580_models_ready{{{JOB}}})", "worker {{worker}}"),
          (f"max(rx580_models_desired{{{JOB}}})", "desired")),
))  # fmt: skip

TRUST = Row("Trust", (
    graph("Golden Checks", "Checks against the CPU's golden output in 15 minutes, by result.",
          "short", (f"sum by (result) (increase(rx580_golden_checks_total{{{ALL}}}[15m]))",
                    "{{result}}"), states=((0, GOOD),), empty="No checks"),
    graph("Card against CPU", "Largest difference on shadowed live requests, as a ratio of the "
          "tolerated one.", "none",
          (f"max by (model) (rx580_shadow_difference_ratio{{{ALL}}})", "{{model}}"),
          alert="GPUShadowDifference", empty="Shadow mode is off"),
    graph("Shadowed Requests", "Live requests that were run on the CPU too, per second.", "reqps",
          (f"sum(rate(rx580_shadow_requests_total{{{ALL}}}{RATE})) or vector(0)", "shadowed")),
    graph("Fallbacks to the CPU", "In 10 minutes, by reason.", "short",
          (f"sum by (reason) (increase(rx580_fallbacks_total{{{ALL}}}[10m]))", "{{reason}}"),
          states=((0, GOOD), (1, WARNING)), empty="None"),
))  # fmt: skip

BOARD = Board(
    uid="rx580-models",
    file="models.json",
    title="RX 580 API / Models",
    description="What is served, where the time goes, what is refused, can answers be trusted.",
    refresh="10s",
    rows=(NOW, INFERENCE, LOAD, LIFE, TRUST),
    variables=(("model", "Model", "label_values(rx580_model_sessions, model)", True),),
)

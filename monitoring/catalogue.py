"""Every metric of the server, once. Alerts and dashboards may use these names only.

Call `model_labels(name, version)` for every label set with a model in it: it bounds them and
creates each failure counter at 0, so that the first failures are seen as an increase.
Histograms exclude what their help says; times are wall time in seconds.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from monitoring.ledger import EXIT_REASONS
from monitoring.metric import CATALOGUE, REGISTRY, BoundedLabels, Histogram, Spec, define, observed

__all__ = ["CATALOGUE", "EXIT_REASONS", "REGISTRY", "Spec", "model_labels"]

BACKENDS = ("opencl", "tflite")
OUTCOMES = ("ok", "error")
LOAD_FAILURES = (
    "invalid_model", "unsupported_op", "device_memory", "device_error", "timeout", "error",
)  # fmt: skip
UNLOADS = ("requested", "idle", "evicted", "replaced", "device_fault", "shutdown")
REJECTIONS = (
    "queue_full", "queue_bytes", "deadline", "quota", "draining", "device_memory", "not_ready",
)
DROPS = ("deadline", "hangup")
FALLBACKS = ("no_device", "unsupported_op", "device_memory", "kernel_build", "device_fault")
CHECKS = ("pass", "fail", "error")
FAULTS = ("hung", "lost", "wrong_results")

# 0.1 s and 1 s are alert thresholds, so they have to be edges.
HTTP_BUCKETS = (
    .001, .0025, .005, .01, .025, .05, .075, .1, .15, .25, .5, .75, 1, 2.5, 5, 10, 30,
)  # fmt: skip
RUN_BUCKETS = (.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
LOAD_BUCKETS = (.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

# -- HTTP (written by monitoring/http.py) --------------------------------------------------------
HTTP_REQUESTS = define(Counter, "rx580_http_requests_total",
    "HTTP requests answered, by method, route template and status.",
    ("method", "handler", "status"))
HTTP_SECONDS = define(Histogram, "rx580_http_request_duration_seconds",
    "Time from a request's arrival in the app to its response's first byte, in seconds.",
    ("method", "handler"), buckets=HTTP_BUCKETS)
HTTP_IN_FLIGHT = define(Gauge, "rx580_http_requests_in_flight",
    "HTTP requests that are being answered now.", mode="livesum")
HTTP_REQUEST_BYTES = define(Counter, "rx580_http_request_body_bytes_total",
    "Bytes of request bodies, as their Content-Length declares them.", ("handler",))
HTTP_RESPONSE_BYTES = define(Counter, "rx580_http_response_body_bytes_total",
    "Bytes of response bodies.", ("handler",))

# -- Inference (written by the predictor) --------------------------------------------------------
INFERENCES = define(Counter, "rx580_inference_requests_total",
    "Inference requests that reached a model, by outcome (ok, error).",
    ("model", "version", "backend", "outcome"))
QUEUE_DEPTH = define(Gauge, "rx580_inference_queue_depth",
    "Requests that wait for a model's session now.", ("model",), mode="livesum")
QUEUE_LIMIT = define(Gauge, "rx580_inference_queue_limit",
    "Requests that may wait for a model at most, over all workers.", ("model",), mode="livesum")
QUEUE_SECONDS = define(Histogram, "rx580_inference_queue_seconds",
    "Time that a request waited before its batch ran, in seconds.",
    ("model", "version"), buckets=RUN_BUCKETS)
RUN_SECONDS = define(Histogram, "rx580_inference_run_seconds",
    "Session.run wall time in seconds, queueing excluded.",
    ("model", "version", "backend"), buckets=RUN_BUCKETS)
BATCH_SIZE = define(Histogram, "rx580_inference_batch_size",
    "Rows that one Session.run computed.", ("model", "version"), buckets=BATCH_BUCKETS)
REJECTED = define(Counter, "rx580_inference_rejected_total",
    "Requests refused before they were queued, by reason.", ("reason",))
DROPPED = define(Counter, "rx580_inference_dropped_total",
    "Queued requests dropped before compute: past their deadline, or the caller hung up.",
    ("reason",))
FALLBACK = define(Counter, "rx580_fallbacks_total",
    "Loads or runs that went to the CPU although the card was wanted, by reason.",
    ("model", "reason"))
CACHE_HITS = define(Counter, "rx580_cache_hits_total",
    "Requests answered from the response cache.", ("model", "version"))
CACHE_MISSES = define(Counter, "rx580_cache_misses_total",
    "Requests that the response cache could not answer.", ("model", "version"))

# -- Models (written by the store) ---------------------------------------------------------------
MODELS_READY = define(Gauge, "rx580_models_ready",
    "Model versions that a worker serves now.", mode="liveall")
MODELS_DESIRED = define(Gauge, "rx580_models_desired",
    "Model versions that every worker should serve.", mode="livemax")
MODEL_SESSIONS = define(Gauge, "rx580_model_sessions",
    "Workers that serve this model version, by backend.",
    ("model", "version", "backend"), mode="livesum")
MODEL_BYTES = define(Gauge, "rx580_model_memory_bytes",
    "Memory of this model version's sessions in all workers, in bytes.",
    ("model", "version", "backend"), mode="livesum")
LOAD_SECONDS = define(Histogram, "rx580_model_load_seconds",
    "Time of a successful model load, from reading to published, in seconds.",
    ("model", "backend"), buckets=LOAD_BUCKETS)
LOAD_FAILED = define(Counter, "rx580_model_load_failures_total",
    "Model loads that failed, by reason.", ("model", "reason"))
LOADS_FAILED = define(Counter, "rx580_model_loads_failed_total",
    "Model loads that failed, of all models: these series exist before the first failure.",
    ("reason",))
UNLOADED = define(Counter, "rx580_model_unloads_total",
    "Model unloads, by reason.", ("reason",))

# -- Trust in the device (written by the watchdog and the verifier) ------------------------------
CHECKED = define(Counter, "rx580_golden_checks_total",
    "Golden-output checks of loaded models, by result.", ("model", "result"))
DEVICE_FAULTS = define(Counter, "rx580_device_faults_total",
    "Faults of the OpenCL device: hung, lost, wrong results.", ("kind",))
DEVICE_SUSPECT = define(Gauge, "rx580_device_suspect_workers",
    "Workers that no longer trust the OpenCL device.", mode="livesum")
BACKEND_WORKERS = define(Gauge, "rx580_backend_workers",
    "Workers by the device that they prefer now.", ("backend", "device"), mode="livesum")
DEVICE_WANTED = define(Gauge, "rx580_device_wanted",
    "1 where the configuration demands the card, 0 where the CPU will do.", mode="livemax")
SHADOWED = define(Counter, "rx580_shadow_requests_total",
    "Requests that were also run on the CPU to compare.", ("model",))
SHADOW_DIFFERENCE = define(Gauge, "rx580_shadow_difference_ratio",
    "Largest difference between card and CPU, as a ratio of the tolerated one.",
    ("model",), mode="livemax")
LEDGER_BYTES = define(Gauge, "rx580_vram_ledger_bytes",
    "The workers' shared ledger of device memory: reserved, and the limit, in bytes.",
    ("kind",), mode="livemax")

# -- The process ---------------------------------------------------------------------------------
BUILD_INFO = define(Gauge, "rx580_build_info",
    "Always 1; the labels say what runs.", ("version", "python"), mode="livemax")

# -- Read at scrape time: the masters' ledger and /proc (monitoring/workers.py) ------------------
WORKERS = observed("gauge", "rx580_workers", "Workers alive.")
WORKERS_DESIRED = observed("gauge", "rx580_workers_desired", "Workers that there should be.")
WORKER_STARTS = observed("counter", "rx580_worker_starts_total", "Workers started.")
WORKER_EXITS = observed("counter", "rx580_worker_exits_total",
    "Workers that ended, by reason.", ("reason",))
WORKER_RSS = observed("gauge", "rx580_worker_resident_bytes",
    "Resident memory of a live worker in bytes, by slot.", ("worker",))
WORKER_CPU = observed("counter", "rx580_worker_cpu_seconds_total",
    "CPU time of a live worker in seconds, by slot.", ("worker",))
WORKER_FDS = observed("gauge", "rx580_worker_open_fds",
    "Open descriptors of a live worker, by slot.", ("worker",))

# -- Read at scrape time: the metrics themselves (monitoring/exposition.py) ----------------------
FILES = observed("gauge", "rx580_metrics_files", "Metric files that a scrape reads.")
FILE_BYTES = observed("gauge", "rx580_metrics_file_bytes", "Bytes in use in those files.")
FILES_BROKEN = observed("gauge", "rx580_metrics_files_broken",
    "Metric files of which only a part could be read.")
COLLECT_SECONDS = observed("gauge", "rx580_metrics_collect_seconds",
    "Time that this scrape took to collect, in seconds.")

# -- Read at scrape time: the card (monitoring/gpu.py); absent where there is no card ------------
GPU_BUSY = observed("gauge", "rx580_gpu_busy_ratio", "Share of time the GPU was busy.", ("card",))
GPU_MEM_BUSY = observed("gauge", "rx580_gpu_memory_busy_ratio",
    "Share of time the memory controller was busy.", ("card",))
GPU_VRAM_USED = observed("gauge", "rx580_gpu_vram_used_bytes", "VRAM in use.", ("card",))
GPU_VRAM_TOTAL = observed("gauge", "rx580_gpu_vram_total_bytes", "VRAM there is.", ("card",))
GPU_GTT_USED = observed("gauge", "rx580_gpu_gtt_used_bytes",
    "System memory that the card uses (GTT).", ("card",))
GPU_TEMPERATURE = observed("gauge", "rx580_gpu_temperature_celsius",
    "Edge temperature.", ("card",))
GPU_TEMPERATURE_CRITICAL = observed("gauge", "rx580_gpu_temperature_critical_celsius",
    "Temperature at which the driver protects the card.", ("card",))
GPU_FAN = observed("gauge", "rx580_gpu_fan_rpm", "Fan speed.", ("card",))
GPU_FAN_RATIO = observed("gauge", "rx580_gpu_fan_ratio", "Fan drive (PWM), 0 to 1.", ("card",))
GPU_POWER = observed("gauge", "rx580_gpu_power_watts", "Power drawn.", ("card",))
GPU_POWER_CAP = observed("gauge", "rx580_gpu_power_cap_watts", "Power limit.", ("card",))
GPU_CLOCK = observed("gauge", "rx580_gpu_clock_hertz",
    "Present clock: core or memory.", ("card", "clock"))
GPU_CLOCK_MAX = observed("gauge", "rx580_gpu_clock_max_hertz",
    "Highest clock of the card's table: core or memory.", ("card", "clock"))
GPU_VOLTAGE = observed("gauge", "rx580_gpu_voltage_volts", "Core voltage.", ("card",))


def _create_at_zero(labels: tuple[str, ...]) -> None:
    model, version = labels
    for reason in LOAD_FAILURES:
        LOAD_FAILED.labels(model, reason)
    for reason in FALLBACKS:
        FALLBACK.labels(model, reason)
    for result in CHECKS:
        CHECKED.labels(model, result)
    QUEUE_SECONDS.labels(model, version)


model_labels = BoundedLabels(256, _create_at_zero)

for _counter, _values in (
    (REJECTED, REJECTIONS), (DROPPED, DROPS), (UNLOADED, UNLOADS),
    (LOADS_FAILED, LOAD_FAILURES), (DEVICE_FAULTS, FAULTS),
):  # fmt: skip
    for _value in _values:
        _counter.labels(_value)

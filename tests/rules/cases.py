"""For every alert: what happens, when it may not fire yet, when it must, when it has resolved.

A story is 10 healthy minutes, then some in which something is wrong, then health again.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.rules.series import Phase, counter, gauge, histogram

JOB = 'job="rx580-api",instance="a:9101"'
OTHER = 'job="rx580-api",instance="b:9101"'
CARD = f'{JOB},card="card0"'
Phases = tuple[Phase, ...]


def story(healthy: float, wrong: float, minutes: float = 20, after: float = 40) -> Phases:
    """Give 10 minutes of health, some of trouble, then health."""
    return ((10, healthy), (minutes, wrong), (after, healthy))


@dataclass(frozen=True)
class Case:
    """One story about one alert; always: it fires whatever happens.

    Units: minutes from the start; `early` is in the wrong time, before the alert's `for` is over.
    """

    alert: str
    series: dict[str, str]
    early: float
    firing: float
    resolved: float
    step: int = 15
    name: str = ""
    always: bool = False


def requests(ok: Phases, failed: Phases, step: int = 15) -> dict[str, str]:
    """Give the request counters of one route."""
    base = f'rx580_http_requests_total{{{JOB},method="POST",handler="/inference",status="%s"}}'
    return {base % "200": counter(*ok, step=step), base % "500": counter(*failed, step=step)}


def http_seconds(under: dict[str, Phases], step: int = 15) -> dict[str, str]:
    """Give the latency histogram of one route."""
    return histogram("rx580_http_request_duration_seconds",
                     f'{JOB},method="POST",handler="/inference"', under, step)  # fmt: skip


def one(name: str, labels: str, values: str) -> dict[str, str]:
    """Give one series."""
    return {f"{name}{{{labels}}}": values}


def own(name: str, labels: str, values: str) -> dict[str, str]:
    """Give one series of the server's own."""
    return one(f"rx580_{name}", f"{JOB},{labels}" if labels else JOB, values)


def card(name: str, *phases: Phase, labels: str = "") -> dict[str, str]:
    """Give one gauge of the card."""
    return own(f"gpu_{name}", f'card="card0"{labels}', gauge(*phases))


def up(job: str, *phases: Phase) -> dict[str, str]:
    """Give a target's health."""
    return one("up", f'job="{job}",instance="a:1"', gauge(*phases))


def own_up(*phases: Phase) -> dict[str, str]:
    """Give the health of the server that JOB names."""
    return one("up", JOB, gauge(*phases))


def few(number: float) -> str:
    """Give a counter that grows by that number in the 11th minute."""
    return counter((10, 0), (1, number / 60), (59, 0))


FOREVER: Phases = ((70, 1),)
TWO: Phases = ((70, 2),)
TEN: Phases = ((70, 10),)
LONG: Phases = ((6000, 5),)

CASES = (
    Case("HighErrorRate", requests(TWO, story(0, .2)), 14, 16, 37),
    Case("CriticalErrorRate", requests(TWO, story(0, .9)), 11.5, 14, 37),
    Case("CriticalErrorRate", requests(TWO, ((10, None), (20, .9), (40, 0))), 11.5, 14, 37,
         name="the failing series is born with the trouble"),
    Case("HighLatency", http_seconds({"0.1": story(2, 1.8), "1.0": TWO, "+Inf": TWO}), 14, 20, 37),
    Case("APIDown",
         up("rx580-api-probe", *story(1, 0)) | up("rx580-api", *story(1, 0))
         | requests(((10, .1), (20, None), (40, .1)), ((70, None),)), 10.75, 11.5, 31,
         name="the whole server is gone"),
    Case("APIDown",
         up("rx580-api-probe", *story(1, 0)) | up("rx580-api", *FOREVER)
         | requests(story(.1, 0), story(0, 0)), 11.5, 13, 31.5,
         name="the workers hang, the exporter lives"),
    Case("APIDown", up("rx580-api-probe", (10, 1), (20, None), (40, 1)), 10.5, 17, 31,
         name="the target is not even configured"),
    Case("HighRequestRate", requests(story(20, 250), story(0, 0)), 12.5, 15, 37),
    Case("ModelLoadFailures",
         own("model_load_failures_total", 'model="m",reason="invalid_model"', few(4)),
         11.5, 13, 24),
    Case("ModelLoadFailures",
         own("model_load_failures_total", 'model="new",reason="error"',
             gauge((11, None), (59, 5)))
         | own("model_loads_failed_total", 'reason="error"', gauge((11, 0), (59, 5))),
         11.5, 13, 24, name="five failures before the model's series is first seen"),
    Case("SlowInference", histogram("rx580_inference_run_seconds",
         f'{JOB},model="m",version="1",backend="opencl"',
         {"1.0": story(2, 1.8), "2.5": TWO, "+Inf": TWO}), 14, 20, 37),
    Case("HighMemoryUsage", card("vram_used_bytes", *story(2e9, 7.2e9)), 14, 16, 31,
         name="of the card"),
    Case("HighMemoryUsage",
         own("worker_resident_bytes", 'worker="0"', gauge(*story(1e9, 4e9)))
         | own("worker_resident_bytes", 'worker="1"', gauge(*story(1e9, 4e9))),
         14, 16, 31, name="of the workers where there is no card"),
    Case("HighMemoryUsage", card("vram_used_bytes", (70, 2e9))
         | one("rx580_worker_resident_bytes", f'{OTHER},worker="0"', gauge(*story(1e9, 8e9))),
         14, 16, 31, name="of another server, which has no card"),
    Case("WorkersCrashLooping", own("worker_exits_total", 'reason="killed"', few(4)),
         11.5, 13, 24),
    Case("WorkersMissing", own("workers_desired", "", gauge((70, 3)))
         | own("workers", "", gauge(*story(3, 2))), 11.5, 13, 31),
    Case("WorkersMissing", own("workers_desired", "", gauge((70, 3)))
         | own("workers", "", gauge((70, 3)))
         | one("rx580_workers_desired", OTHER, gauge((70, 3)))
         | one("rx580_workers", OTHER, gauge(*story(3, 2))), 11.5, 13, 31, name="of one server"),
    Case("ModelsNotReady", own("models_desired", "", gauge(*TWO))
         | own("models_ready", 'worker="0"', gauge(*story(2, 1)))
         | own("models_ready", 'worker="1"', gauge(*TWO)), 14, 16, 31),
    Case("QueueSaturated", own("inference_queue_depth", 'model="m"', gauge(*story(1, 60)))
         | own("inference_queue_limit", 'model="m"', gauge((70, 64))), 11.5, 13, 31),
    Case("RequestsRejected", requests(TEN, ((70, 0),))
         | own("inference_rejected_total", 'reason="queue_full"', counter(*story(0, 1))),
         14, 17, 37),
    Case("DeadlinesMissed", requests(TEN, ((70, 0),))
         | own("inference_dropped_total", 'reason="deadline"', counter(*story(0, 1))),
         14, 17, 37),
    Case("MetricsFilesBroken", own("metrics_files_broken", "", gauge(*story(0, 1))), 14, 16, 31),
    Case("AvailabilityBudgetBurnsFast", requests(story(2, 2, 60, 90), story(0, 1, 60, 90)),
         11, 40, 100),
    Case("AvailabilityBudgetBurnsSlowly",
         requests(LONG, ((1500, 0), (1500, .12), (3000, 0)), step=240), 1510, 2990, 5990, step=240),
    Case("LatencyBudgetBurnsFast", http_seconds({"1.0": story(2, 1, 60, 90),
                                                 "+Inf": story(2, 2, 60, 90)}), 11, 40, 100),
    Case("LatencyBudgetBurnsSlowly",
         http_seconds({"1.0": ((1500, 5), (1500, 4.8), (3000, 5)), "+Inf": LONG}, step=240),
         1510, 2990, 5990, step=240),
    Case("GPUHot", card("temperature_celsius", *story(60, 90)), 14, 16, 31),
    Case("GPUThrottling",
         card("clock_hertz", *story(1.3e9, 6e8), labels=',clock="core"')
         | card("clock_max_hertz", (70, 1.34e9), labels=',clock="core"')
         | card("busy_ratio", *FOREVER), 14, 16, 31),
    Case("GPUVRAMNearlyFull", card("vram_used_bytes", *story(2e9, 8.4e9))
         | card("vram_total_bytes", (70, 8.59e9)), 14, 16, 31),
    Case("GPULost", card("vram_total_bytes", (10, 8e9), (20, None), (40, 8e9))
         | own_up(*FOREVER), 10.5, 17, 31),
    Case("GPULost", card("vram_total_bytes", (70, 8e9)) | own_up(*FOREVER)
         | one("rx580_gpu_vram_total_bytes", f'{OTHER},card="card0"',
               gauge((10, 8e9), (20, None), (40, 8e9)))
         | one("up", OTHER, gauge(*FOREVER)), 10.5, 17, 31, name="of one server"),
    Case("GPUResultsWrong", own("device_suspect_workers", "", gauge(*story(0, 1))),
         9.75, 10.5, 31),
    Case("GPUResultsWrong", own("golden_checks_total", 'model="m",result="fail"', few(1)),
         9.75, 12, 28, name="the worker that found it is gone"),
    Case("GPUFault", own("device_faults_total", 'kind="hung"', few(1)), 9.75, 12, 28),
    Case("GPUFallenBackToCPU", own("device_wanted", "", gauge(*FOREVER))
         | own("backend_workers", 'backend="tflite",device="CPU"', gauge(*story(0, 2))),
         14, 16, 31),
    Case("GPUShadowDifference", own("shadow_difference_ratio", 'model="m"', gauge(*story(.1, 3))),
         14, 16, 31),
    Case("ContainerRestarting", one("container_start_time_seconds", 'name="rx580-api",id="/a"',
         gauge((10, 0), (2, 600), (2, 720), (2, 840), (54, 960))), 13, 17, 27),
    Case("ContainerRestarting",
         one("container_start_time_seconds", 'name="rx580-api",id="/a"', gauge((10, 0)))
         | one("container_start_time_seconds", 'name="rx580-api",id="/b"',
               gauge((10, None), (2, 600)))
         | one("container_start_time_seconds", 'name="rx580-api",id="/c"',
               gauge((12, None), (2, 720)))
         | one("container_start_time_seconds", 'name="rx580-api",id="/d"',
               gauge((14, None), (56, 840))), 11, 17, 31, name="recreated"),
    Case("ContainerDown", up("cadvisor", *FOREVER)
         | one("container_last_seen", 'name="rx580-api",id="/a"',
               "0+15x40 _x80 1800+15x160"), 11.5, 17, 31),
    Case("PrometheusTargetDown", up("node", *story(1, 0)), 11.5, 13, 31),
    Case("PrometheusTargetDown", up("rx580-api", *FOREVER)
         | one("up", OTHER, gauge(*story(1, 0))), 11.5, 13, 31, name="one server of two"),
    Case("Watchdog", one("nothing", "", gauge(*FOREVER)), .25, 30, 69, name="always", always=True),
    Case("HostDiskFilling",
         one("node_filesystem_avail_bytes", 'instance="h",mountpoint="/",fstype="ext4"',
             gauge(*story(50, 5)))
         | one("node_filesystem_size_bytes", 'instance="h",mountpoint="/",fstype="ext4"',
               gauge((70, 100))), 19, 21, 31),
    Case("HostMemoryLow",
         one("node_memory_MemAvailable_bytes", 'instance="h"', gauge(*story(50, 2)))
         | one("node_memory_MemTotal_bytes", 'instance="h"', gauge((70, 100))), 14, 16, 31),
    Case("PrometheusRuleFailures", one("prometheus_rule_evaluation_failures_total",
         'instance="p",rule_group="g"', counter(*story(0, .1))), 14, 16, 37),
    Case("PrometheusConfigReloadFailed", one("prometheus_config_last_reload_successful",
         'instance="p"', gauge(*story(1, 0))), 10.75, 12, 31),
    Case("PrometheusErrorSendingAlerts",
         one("prometheus_notifications_sent_total", 'alertmanager="a"', counter(*FOREVER))
         | one("prometheus_notifications_errors_total", 'alertmanager="a"',
               counter(*story(0, .5))), 14, 17, 37),
    Case("AlertmanagerFailedReload", one("alertmanager_config_last_reload_successful",
         'instance="a"', gauge(*story(1, 0))), 10.75, 12, 31),
    Case("AlertmanagerFailedToSendAlerts",
         one("alertmanager_notifications_total", 'instance="a",integration="slack"',
             counter(*FOREVER))
         | one("alertmanager_notifications_failed_total", 'instance="a",integration="slack"',
               counter(*story(0, .5))), 14, 17, 37),
)  # fmt: skip

"""gunicorn's configuration for the metrics' tests: the real hooks and worker, the tiny app."""

import os
from pathlib import Path

from monitoring.hooks import MetricsConfig, MetricsHooks

metrics = MetricsHooks(
    MetricsConfig(
        directory=Path(os.environ["TINY_DIRECTORY"]) / "metrics",
        port=int(os.environ["TINY_METRICS_PORT"]),
        sysfs=Path(os.environ["TINY_SYSFS"]),
    )
)
on_starting = metrics.on_starting
pre_fork = metrics.pre_fork
post_fork = metrics.post_fork
worker_exit = metrics.worker_exit
child_exit = metrics.child_exit
on_exit = metrics.on_exit

bind = f"127.0.0.1:{os.environ['TINY_PORT']}"
workers = int(os.environ["TINY_WORKERS"])
max_requests = int(os.environ["TINY_MAX_REQUESTS"])
worker_class = "app.worker.Worker"  # it resets no connection when it ends
timeout = int(os.environ["TINY_TIMEOUT"])
graceful_timeout = 5
control_socket_disable = True
pidfile = os.environ["TINY_DIRECTORY"] + "/pid"

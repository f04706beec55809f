"""How gunicorn runs the server. Reads the environment and changes nothing; safe to import."""

import os
import sys
from pathlib import Path

from app import addresses, claim, draining, enduring, folders, logs, pinning, rolling, worker
from app.errors import SettingsError
from app.settings import Settings
from monitoring.hooks import MetricsConfig, MetricsHooks

try:
    settings = Settings.from_env(os.environ)
except SettingsError as error:
    sys.exit(str(error))

wsgi_app = "wsgi:app"
# The folder that the server is started from need not be this project's.
pythonpath = str(Path(__file__).parents[1])
bind = addresses.joined(settings.host, settings.port)
workers = settings.workers
threads = settings.threads
worker_class = "app.worker.Worker"
# Nothing native may exist before the fork, and metrics belong to one worker each.
preload_app = False
keepalive = settings.keepalive_s
max_requests = settings.max_requests
max_requests_jitter = settings.max_requests // 10
graceful_timeout = settings.graceful_timeout_s
# The main loop of a threaded worker beats on its own, so only a hung process is late.
timeout = 60
# A heartbeat file on a disk would make a busy disk look like a hung worker.
worker_tmp_dir = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)  # noqa: S108
control_socket_disable = True
# The path is what the request line says; gunicorn would let headers of local clients change it.
forwarder_headers = ""
accesslog = None
errorlog = "-"
logger_class = worker.logger_class(logs.config(settings.log_level, settings.log_format))
proc_name = "rx580-inference"

metrics = MetricsHooks(
    MetricsConfig(
        directory=settings.state_dir / "metrics",
        host=settings.metrics_host,
        port=settings.metrics_port,
        sysfs=settings.sysfs_dir,
    )
)


def on_starting(server):
    """Stop here, in one line, rather than serve what was not asked for or not at all."""
    try:
        addresses.check(settings)
        folders.check(settings)
        upgrades = server.master_pid != 0
        server.claim = claim.claim(settings, upgrades)
        # systemd may have opened the port already, and handed it over.
        if not upgrades and "LISTEN_FDS" not in os.environ:
            addresses.await_port(settings)
        pinning.check(settings)
    except SettingsError as error:
        sys.exit(str(error))
    metrics.on_starting(server)
    # gunicorn would begin an upgrade (USR2) with the path of what `python -m` has found.
    server.START_CTX["args"] = sys.orig_argv


def when_ready(server):
    """Change what gunicorn's master does when it stops, and when there is no room for a worker."""
    draining.before_stop(server)
    tried = enduring.endure(server)
    rolling.roll(server, worker.Worker.has_begun, tried)


pre_fork = metrics.pre_fork


def post_fork(server, worker):
    """Leave to the master what is the master's."""
    metrics.post_fork(server, worker)
    server.claim.drop()


worker_exit = metrics.worker_exit
child_exit = metrics.child_exit
on_exit = metrics.on_exit

"""gunicorn's side of the metrics. Never imports the catalogue, and the master no prometheus_client.

In deploy/gunicorn.conf.py (re-read at SIGHUP; all state is kept on gunicorn's own objects):

    metrics = MetricsHooks(MetricsConfig(directory=settings.state_dir / "metrics",
                                         host=settings.metrics_host, port=settings.metrics_port))
    on_starting = metrics.on_starting    # master: makes the directory, keeps the exporter alive
    pre_fork = metrics.pre_fork          # master: takes a slot for the worker to be
    post_fork = metrics.post_fork        # worker: FIRST thing there, before any metric exists
    worker_exit = metrics.worker_exit    # worker: notes why it ends
    child_exit = metrics.child_exit      # master, after waitpid: hands the slot on
    on_exit = metrics.on_exit            # master: stops the exporter

Hooks of your own call these first. preload_app must stay off: a metric that exists before the
fork would be written by every worker into the same file. Suggested settings: METRICS_HOST
(127.0.0.1), METRICS_PORT (9101; 0 means no exporter), and the directory below the state
directory. PROMETHEUS_MULTIPROC_DIR is set by post_fork itself, in the worker only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitoring import slots
from monitoring.keeper import Keeper
from monitoring.ledger import WorkerLedger

_ROOT = Path(__file__).parent.parent

# sys.exit codes of gunicorn's workers (Arbiter.WORKER_BOOT_ERROR, APP_LOAD_ERROR).
_EXIT_REASONS: dict[object, str] = {
    0: "requested", None: "requested", 3: "boot_failed", 4: "boot_failed",
}


@dataclass(frozen=True)
class MetricsConfig:
    """Where metrics are kept and served."""

    directory: Path
    host: str = "127.0.0.1"
    port: int = 9101
    sysfs: Path = Path("/sys")


class MetricsHooks:
    """The hooks that keep one slot of metric files per live worker."""

    def __init__(self, config: MetricsConfig) -> None:
        self._config = config
        self._directory = config.directory.absolute()
        self._ledger = WorkerLedger(self._directory)

    def on_starting(self, server: Any) -> None:
        """Start from zero, unless workers of another master still count here (an upgrade)."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._ledger.locked():
            inherited = server.master_pid != 0  # SIGUSR2: the old master still counts here
            if not inherited and not any(h.live for h in slots.holders(self._directory)):
                for path in self._directory.glob("*.db"):
                    path.unlink(missing_ok=True)
                self._ledger.clear()
        self._keep_exporter(server)

    def pre_fork(self, server: Any, worker: Any) -> None:
        """Take a slot for the worker to come; without one (a full disk) it counts nothing."""
        worker.metrics_slot = None
        self._reclaim(server, worker)
        with _surviving(server):
            slot = slots.acquire(self._directory)
            worker.metrics_slot = slot
            slot.mend()
            self._ledger.started(server.num_workers)

    def _reclaim(self, server: Any, worker: Any) -> None:
        """Take back the slot of the worker before, if there was no room to fork it."""
        before = getattr(server, "last_forked", None)
        server.last_forked = worker
        if before is None or before.metrics_slot is None:
            return
        if before.pid == worker.pid:  # neither has a number yet
            before.metrics_slot.release()

    def post_fork(self, server: Any, worker: Any) -> None:
        """Make this process count into its slot's files.

        Raises: RuntimeError if metrics exist already.
        """
        for sibling in server.WORKERS.values():
            if sibling.metrics_slot is not None:
                os.close(sibling.metrics_slot.fd)
        slot: slots.Slot | None = worker.metrics_slot
        if slot is not None and slot.is_sound():
            install(slot)
            with _surviving(server):
                slot.write(pid=os.getpid())

    def worker_exit(self, server: Any, worker: Any) -> None:
        """Note why the worker ends; one that is killed notes nothing."""
        if os.getpid() != worker.pid or worker.metrics_slot is None:
            return
        ending = sys.exc_info()[1]
        code = ending.code if isinstance(ending, SystemExit) else None
        reason = _EXIT_REASONS.get(code, "crashed")
        if reason == "requested" and 0 < worker.max_requests <= worker.nr:
            reason = "max_requests"
        with _surviving(server):
            worker.metrics_slot.write(pid=os.getpid(), exit=reason)

    def child_exit(self, server: Any, worker: Any) -> None:
        """Count the exit, remove the dead worker's gauges and hand its slot on."""
        slot: slots.Slot | None = worker.metrics_slot
        if slot is None:
            return
        reason = "timeout" if worker.aborted else slot.read().get("exit", "killed")
        with _surviving(server):
            self._ledger.exited(reason)
        with _surviving(server):
            slot.drop_gauges()
        slot.release()

    def on_exit(self, server: Any) -> None:
        """Stop the exporter. It would end by itself within a second."""
        if server.metrics_exporter is not None:
            server.metrics_exporter.stop()

    def _keep_exporter(self, server: Any) -> None:
        server.metrics_exporter = None
        if self._config.port == 0:
            return
        command = [
            sys.executable, "-m", "monitoring.exporter",
            "--directory", str(self._directory),
            "--host", self._config.host,
            "--port", str(self._config.port),
            "--sysfs", str(self._config.sysfs),
            "--parent", str(os.getpid()),
        ]  # fmt: skip
        keeper = server.metrics_exporter = Keeper(command, _ROOT, server.log)
        # The master comes by at least every second; it has no hook for that.
        manage_workers = server.manage_workers

        def manage() -> None:
            with _surviving(server):
                keeper.look()
            manage_workers()

        server.manage_workers = manage


@contextmanager
def _surviving(server: Any) -> Iterator[None]:
    # An exception in a hook ends gunicorn's master: a full disk may cost numbers, never the server.
    try:
        yield
    except OSError as error:
        server.log.error("metrics: %s; some numbers will be missing until this is mended", error)


def install(slot: slots.Slot) -> None:
    """Make prometheus_client of this process write into the slot's files.

    Raises: RuntimeError if the catalogue was imported before.
    """
    if "monitoring.catalogue" in sys.modules:
        raise RuntimeError(
            "monitoring.catalogue was imported before the fork, so its metrics belong to no "
            "worker; keep preload_app off and import the app in the worker"
        )
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(slot.directory)
    from prometheus_client import values

    owner = os.getpid()

    def identity() -> int:
        if os.getpid() != owner:
            raise RuntimeError(
                "a forked child of a worker may not write metrics: its counts would overwrite "
                "the worker's; start helpers with subprocess instead"
            )
        return slot.number

    values.ValueClass = values.MultiProcessValue(identity)  # type: ignore[no-untyped-call]
    values.ValueClass.slot_directory = slot.directory

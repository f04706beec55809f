"""Gunicorn's worker: an event loop that reads, threads that compute; problems instead of HTML."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import logging.config
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from gunicorn import glogging
from gunicorn.workers import base

from app.draining import accept_waiting
from app.front.peers import Peers
from app.trouble import Trouble, passes

if TYPE_CHECKING:
    from app.front.connection import Connection
    from app.front.loop import Loop

log = logging.getLogger("app.front")
Result = TypeVar("Result")

PROBES = frozenset(
    ("/health", "/health/live", "/health/ready", "/metrics", "/v2/health/live", "/v2/health/ready")
)
# The loop has to get the interpreter back quickly from threads that decode large bodies.
SWITCH_SECONDS = 0.001
RETRY_SECONDS = 1.0
# Source: malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Each heap keeps what its threads gave back; by itself malloc makes one for each of the first 16.
_HEAPS = 4


def keep_memory() -> None:
    """Let malloc keep what large requests give back, instead of faulting it in for each anew.

    Left alone it gave every 1 MB body's buffers back to the kernel: 300 page faults a request.
    Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 128 << 20)
        mallopt(_M_ARENA_MAX, _HEAPS)


def problem_of(status: HTTPStatus, detail: str) -> bytes:
    """Write the answer to what never became a request: a bad request line, headers too large."""
    # Imported here, because this module is imported in the master, before the fork.
    from app.blueprints.errors import problem
    from monitoring.http import count_refused

    request_id = uuid.uuid4().hex
    body = problem(status, f"http_{status}", detail, request_id)
    head = (
        f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nX-Request-Id: {request_id}\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        + ("Retry-After: 1\r\n\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else "\r\n")
    )
    count_refused(status)
    return head.encode("latin-1") + body


def _turn_away(connection: Connection) -> None:
    text = "this worker has as many requests waiting for a thread as it may have; come back later"
    connection.send(problem_of(HTTPStatus.SERVICE_UNAVAILABLE, text))


def logger_class(config: dict[str, Any]) -> type[Any]:
    """Make gunicorn log as the app does; requests are logged by the app, with more to say."""

    class Logger(glogging.Logger):  # type: ignore[misc]  # gunicorn publishes no types
        def setup(self, cfg: Any) -> None:
            self.cfg = cfg
            logging.config.dictConfig(config)

        def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
            return

    return Logger


class Worker(base.Worker):  # type: ignore[misc]  # gunicorn publishes no types
    """A worker that knows this server's app."""

    alive: bool
    peers: ClassVar[Peers | None] = None

    def __init__(self, *args: Any) -> None:
        """Still in the master: what its workers share is made with the first of them."""
        super().__init__(*args)
        if Worker.peers is None:
            Worker.peers = Peers(2 * self.cfg.workers + 2)

    @classmethod
    def has_begun(cls, age: int) -> bool:
        """Tell the master whether the worker of this age has ever taken requests."""
        return cls.peers is not None and cls.peers.joined(age)

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse what this worker does not do.

        Raises: SystemExit for TLS, which is a proxy's to end.
        """
        if cfg.is_ssl:
            sys.exit("this server speaks no TLS: let a proxy end it, like deploy/nginx/rx580.conf")

    def init_process(self) -> None:
        """Start."""
        keep_memory()
        sys.setswitchinterval(SWITCH_SECONDS)
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the app, then the models, before the first connection is accepted."""
        self._until_it_works(super().load_wsgi)
        self.runtime: Any = self.wsgi.extensions["runtime"]
        self._until_it_works(self._start)
        self.loop = self._until_it_works(self._front)

    def _start(self) -> None:
        self.runtime.start(alive=lambda: self.alive, notify=self.notify)

    def _until_it_works(self, step: Callable[[], Result]) -> Result:
        """Take a step of the boot, again and again where there is no room for it just now.

        A worker that ended instead would take the master, and with it all other workers, along.
        """
        trouble = Trouble(log, "a worker cannot begin")
        while True:
            try:
                done = step()
                trouble.over()
                return done
            except Exception as error:
                if not passes(error):
                    raise
                trouble.met(error)
            self.notify()
            time.sleep(RETRY_SECONDS)
            if not self.alive:
                sys.exit(0)

    def _front(self) -> Loop:
        # Numpy and what else is native must not be in the master, before the fork.
        from app.front.crew import hired
        from app.front.intake import Intake
        from app.front.loop import Loop
        from app.front.pages import Pages

        settings = self.runtime.settings
        self._keeps_alive = self.cfg.keepalive > 0
        spool = settings.state_dir / "bodies"
        spool.mkdir(parents=True, exist_ok=True)
        most = settings.queue_per_worker + settings.threads
        infer, page, probe = self._crews = hired({
            "infer": (most, settings.threads), "page": (settings.threads, settings.threads),
            "probe": (2, 2),
        })  # fmt: skip
        pages = Pages(
            self.cfg, self.wsgi, self.malformed, _turn_away, page, probe, PROBES
        )
        intake = Intake(
            self.cfg, self.wsgi.extensions["express"], infer, pages, self.malformed,
            spool=spool,
            largest=max(settings.max_body_bytes, settings.max_model_bytes),
            room=int(settings.queue_mb * 1e6),
            began=self._begin_request,
        )  # fmt: skip
        assert self.peers is not None
        self._peer = self.peers.join(self.age)
        return Loop(intake, self.cfg.keepalive, self.cfg.worker_connections, self._peer)

    def malformed(self, connection: Connection, error: Exception) -> None:
        """Answer what is no request, or a request whose app failed."""
        from app.front import http2
        from app.front.unreadable import explained

        found = explained(error, self.cfg)
        peer = connection.peer[0] if isinstance(connection.peer, tuple) else ""
        if found is None:
            log.error("unexpected error behind a request", exc_info=error, extra={"peer": peer})
            found = HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed unexpectedly"
        else:
            log.info("refused what is no request", extra={"peer": peer, "detail": found[1]})
        refusal = problem_of(*found)
        with contextlib.suppress(OSError):
            connection.send(http2.refusal(found[1]) if http2.spoken(error) else refusal)

    def init_signals(self) -> None:
        """End well at any signal that is meant to end a worker, whoever sends it.

        The master starts another. gunicorn's own workers drop their requests at INT and QUIT, and
        die of HUP and USR2.
        """
        super().init_signals()
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, self.handle_exit)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop."""
        if self.alive:
            self.alive = False
            self._wake()

    def _wake(self) -> None:
        if hasattr(self, "loop"):
            self.loop.post(None)

    def _begin_request(self) -> bool:
        """Count a request; tells whether its connection may live on."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        return self.alive and self._keeps_alive

    def run(self) -> None:
        """Serve until told to stop, then let go."""
        # One that is told to stop before its models are loaded would refuse whom it accepts.
        unneeded = not self.alive and self._peer.accompanied(time.monotonic())
        try:
            self.loop.listen([listener.sock for listener in self.sockets])
            while self.alive and self.ppid == os.getppid():
                self.notify()
                self.loop.turn(0.25)
            self.alive = False
            self._drain(unneeded)
        finally:
            self.runtime.stop()

    def _drain(self, unneeded: bool) -> None:
        """Take first what the kernel has accepted for us, then finish what there is."""
        self.loop.deafen()
        for listener in self.sockets:
            if not unneeded:
                accept_waiting(listener.sock, self.loop.accept)
            listener.close()
        end = time.monotonic() + self.cfg.graceful_timeout
        while self.loop.count and time.monotonic() < end:
            self.notify()
            self.loop.turn(0.1)
        for crew in self._crews:
            crew.stop()
        self.loop.close()


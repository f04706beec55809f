"""The process that Prometheus scrapes, on its own port, so that busy workers never delay it.

It is started by MetricsHooks and ends within a second of the master that started it. During an
upgrade the new master's exporter waits until the old one leaves the port. By hand:
python -m monitoring.exporter --directory var/metrics
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from monitoring.exposition import Exposition

REALTIME, NICE = 1, -10
"""The exporter's priority where it may choose; the second where it may have no first."""
PAUSE = 0.05
"""Seconds from one scrape to the next: what goes first must not go on for ever."""
PATIENCE = 0.5
"""Seconds between two looks at the parent, and between two attempts at the port."""


class Server(ThreadingHTTPServer):
    """Serves /metrics; one scrape is collected at a time, and PAUSE seconds apart."""

    daemon_threads = True
    # A second exporter has to wait for the port, not share it.
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], exposition: Exposition) -> None:
        self._exposition = exposition
        self._lock = threading.Lock()
        self._next = 0.0
        # IPv6 where the address is one.
        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        super().__init__(address, Handler)

    def page(self, accept: str | None, names: list[str]) -> tuple[str, str]:
        """Render the page for one scrape."""
        with self._lock:
            time.sleep(max(0.0, self._next - time.monotonic()))
            try:
                return self._exposition.page(accept, names)
            finally:
                self._next = time.monotonic() + PAUSE


    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong with a scrape; that somebody has left is no news."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """GET /metrics?name[]=... and nothing else."""

    server: Server
    server_version = "rx580-exporter"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        """Answer one scrape."""
        url = urlsplit(self.path)
        if url.path != "/metrics":
            self._answer(404, "text/plain; charset=utf-8", "the metrics are at /metrics\n")
            return
        names = parse_qs(url.query).get("name[]", [])
        text, content_type = self.server.page(self.headers.get("Accept"), names)
        self._answer(200, content_type, text)

    def _answer(self, status: int, content_type: str, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are no news."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until the parent ends or a signal comes."""
    options = _parse(arguments)
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    _go_first()
    exposition = Exposition(options.directory, options.sysfs)
    server = _bind((options.host, options.port), exposition, stop, options.parent)
    if server is None:
        return 0
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}).start()
    while _has_parent(options.parent) and not stop.wait(PATIENCE):
        pass
    server.shutdown()
    server.server_close()
    return 0


def _go_first() -> None:
    """Ask to be run as soon as there is something to do: a scrape takes a few ms.

    A fair share is not enough. With 16 busy threads in each of two workers, Linux 6.18 left the
    exporter, which had used next to nothing, runnable for up to 9 s (measured, also with NICE).
    Root may ask, and who has a limit: RLIMIT_RTPRIO of 1, or RLIMIT_NICE for what comes second.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(REALTIME))
        return
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    # It counts where the kernel shares the CPU out by session.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="of the metric files")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9101)
    parser.add_argument("--sysfs", type=Path, default=Path("/sys"), help="root of the card")
    parser.add_argument("--parent", type=int, default=0, help="end with this process")
    return parser.parse_args(arguments)


def _bind(
    address: tuple[str, int], exposition: Exposition, stop: threading.Event, parent: int
) -> Server | None:
    complained = time.monotonic() + 5
    while _has_parent(parent) and not stop.is_set():
        try:
            return Server(address, exposition)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        if time.monotonic() > complained:
            print(f"metrics exporter: port {address[1]} of {address[0]} is in use; waiting for it "
                  "(METRICS_PORT chooses another)", file=sys.stderr, flush=True)  # fmt: skip
            complained = float("inf")
        stop.wait(PATIENCE)
    return None


def _has_parent(parent: int) -> bool:
    return parent in (0, os.getppid())


if __name__ == "__main__":
    sys.exit(main())

"""A real HTTP server on a free port whose answers can be made to go wrong in known ways."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server has, and how it misbehaves.

    breaks: how many bytes each of the next answers to a path gives before the socket closes.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    honours_range: bool = True
    with_etag: bool = True
    login: str | None = None
    hits: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)
    sent: int = 0
    url: str = ""


@contextmanager
def serving() -> Iterator[Site]:
    """Run the server for the length of a test."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.hits[self.path] += 1
            if site.login and not self._logged_in(site.login):
                self._refuse(401)
            elif site.statuses.get(self.path):
                self._refuse(site.statuses[self.path].pop(0))
            elif self.path not in site.files:
                self._refuse(404)
            else:
                self._answer(site.files[self.path])

        def _logged_in(self, login: str) -> bool:
            wanted = "Basic " + base64.b64encode(login.encode()).decode()
            return self.headers.get("Authorization") == wanted

        def _refuse(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _answer(self, body: bytes) -> None:
            etag = f'"{hashlib.md5(body).hexdigest()}"'
            start = self._start(etag)
            if start >= len(body) > 0:
                return self._refuse(416)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if site.with_etag:
                self.send_header("ETag", etag)
            self.send_header("Content-Type", site.kinds.get(self.path, "application/octet-stream"))
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            broken = site.breaks.get(self.path)
            part = body[start:][: broken.pop(0)] if broken else body[start:]
            self.wfile.write(part)
            site.sent += len(part)
            self.close_connection = True
            return None

        def _start(self, etag: str) -> int:
            wanted = self.headers.get("Range")
            if not wanted or not site.honours_range:
                return 0
            if self.headers.get("If-Range", etag) != etag:
                return 0
            site.ranges.append(wanted)
            return int(wanted.removeprefix("bytes=").rstrip("-"))

        def log_message(self, *_: object) -> None:
            pass

    return Handler

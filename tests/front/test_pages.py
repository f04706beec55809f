"""What the WSGI app answers is bounded, too: a queue of threads' work is no waiting room."""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import requests

from app.front.pages import MOST_WAITING
from tests.monitoring.running import tiny_server

ASKED = 200
# Of those beyond the few that threads take and the many that may wait.
LEAST = 60
SLOW = b"GET /work?seconds=0.5 HTTP/1.1\r\nHost: a\r\n\r\n"


def test_too_many_pages_are_refused_at_once_and_nobody_works_for_those_who_left(
    tmp_path: Path,
) -> None:
    with tiny_server(tmp_path, workers=1, timeout=60) as server, ExitStack() as stack:
        clients = []
        for _ in range(ASKED):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            clients.append(stack.enter_context(client))
            client.sendall(SLOW)
        refused = 0
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client, selectors.EVENT_READ)
            end = time.monotonic() + 20
            while refused < LEAST and time.monotonic() < end:
                for key, _ in selector.select(1):
                    assert isinstance(key.fileobj, socket.socket)
                    text = key.fileobj.recv(4096)
                    refused += text.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1" in text
                    selector.unregister(key.fileobj)
        assert refused >= LEAST
        time.sleep(1.5)
        for client in clients:
            client.close()
        began = time.monotonic()
        while requests.get(server.url + "/work?seconds=0", timeout=60).status_code == 503:
            time.sleep(0.2)
        # Half a second each for all that had waited would be half a minute.
        assert time.monotonic() - began < MOST_WAITING * 0.5 / 2
        counted = server.total("rx580_http_requests_total", status="503", handler="unmatched")
        assert counted >= refused

"""A stand-in for Slack, Discord and cAdvisor: it takes and refuses what they do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Message:
    """What arrived. Units: at in seconds of time.monotonic()."""

    kind: str
    at: float
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return json.dumps(self.body, ensure_ascii=False)


@dataclass
class Receiver:
    """Everything that was received, in order."""

    port: int = 0
    messages: list[Message] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def wait(self, kind: str, words: tuple[str, ...], seconds: float, since: float = 0) -> Message:
        """Wait for a message of that kind which holds all the words."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for message in list(self.messages):
                if message.kind == kind and message.at >= since and all(
                    word in message.text for word in words
                ):
                    return message
            time.sleep(0.1)
        seen = [message.text for message in self.messages]
        raise AssertionError(f"no {kind} message with {words} in {seconds} s; seen: {seen}")


def fault(kind: str, body: dict[str, Any]) -> str:
    """Say why the real service would refuse the message, or nothing."""
    if kind == "slack":
        texts = [body.get("text"), *(a.get("text") for a in body.get("attachments", []))]
        return "" if any(texts) else "no_text"
    if kind == "discord":
        parts = [body.get("content"), *(e.get("description") for e in body.get("embeds", []))]
        return "" if any(parts) else '{"message": "Cannot send an empty message", "code": 50006}'
    return ""


CONTAINERS = """# TYPE container_last_seen gauge
container_last_seen{{name="rx580-api",id="/docker/1"}} {now}
# TYPE container_start_time_seconds gauge
container_start_time_seconds{{name="rx580-api",id="/docker/1"}} 1700000000
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{{name="rx580-api",id="/docker/1",cpu="total"}} {cpu}
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{{name="rx580-api",id="/docker/1"}} 300000000
"""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Listen on a free port until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kind = self.path.strip("/")
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            why = fault(kind, body)
            if why:
                receiver.refused.append(f"{kind}: {why}")
            else:
                receiver.messages.append(Message(kind, time.monotonic(), body))
            # Slack answers 200 ok, Discord 204.
            status = 400 if why else 204 if kind == "discord" else 200
            self._answer(status, why if why else "" if status == 204 else "ok")

        def do_GET(self) -> None:
            now = time.time()
            self._answer(200, CONTAINERS.format(now=now, cpu=now - 1.7e9))

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()

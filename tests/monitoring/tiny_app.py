"""A Flask app with little more than the metrics: /work takes CPU as an inference does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from flask import Flask, Response, request

from app.settings import Settings
from monitoring.http import init_app

app = Flask(__name__)


@app.get("/health")
def health() -> dict[str, int]:
    return {"pid": os.getpid()}


@app.post("/echo/<name>")
def echo(name: str) -> bytes:
    return request.get_data()


@app.get("/work")
def work() -> str:
    until = time.thread_time() + float(request.args.get("seconds", "0.05"))
    while time.thread_time() < until:
        pass
    return "done"


@app.get("/boom")
def boom() -> str:
    raise ValueError("boom")


@app.get("/stream")
def stream() -> Response:
    return Response(b"x" * 1000 for _ in range(3))


@app.get("/die")
def die() -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@app.get("/hang")
def hang() -> str:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1)  # another thread takes the signal, and on a busy machine not at once
    return "late"


class Runtime:
    """Nothing to start and to stop, where the real app has its models."""

    settings = Settings(state_dir=Path(os.environ["TINY_DIRECTORY"]), threads=4)

    def start(self, **_: object) -> None:
        """Start nothing."""

    def stop(self) -> None:
        """Stop nothing."""


class NoShortWay:
    """Every request is the app's."""

    limit = 0

    def match(self, head: object) -> None:
        """Know no route."""


app.extensions["runtime"] = Runtime()
app.extensions["express"] = NoShortWay()
init_app(app, version="test")

"""A Flask app with little more than the metrics: /work takes CPU as an inference does."""

from __future__ import annotations

import os
import signal
import time

from flask import Flask, Response, request

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

    def start(self, **_: object) -> None:
        """Start nothing."""

    def stop(self) -> None:
        """Stop nothing."""


app.extensions["runtime"] = Runtime()
init_app(app, version="test")

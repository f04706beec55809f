"""The servers of the comparison: how each is installed, started and asked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench import venvs
from bench.serving.load import post
from bench.venvs import python

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORKERS = "2"
# Places in /proc/<pid>/stat after the name. Source: proc(5).
PARENT, USER, SYSTEM, RSS = 1, 11, 12, 21
RUNTIME = ("tflite-runtime==2.14.0", "numpy<2")


@dataclass(frozen=True)
class Ask:
    """One way to ask a server: a path and a body for an input."""

    path: str
    body: Callable[[np.ndarray], bytes]
    headers: Callable[[np.ndarray], dict[str, str]] = field(default=lambda array: {})

    def request(self, array: np.ndarray) -> bytes:
        return post(self.path, self.body(array), self.headers(array))


@dataclass(frozen=True)
class Server:
    """One server: packages of its own venv (none for ours), command, ways to ask it."""

    name: str
    packages: tuple[str, ...]
    command: Callable[[Path, int, str], list[str]]
    asks: dict[str, Ask]
    environment: dict[str, str] = field(default_factory=dict)


JSON = {"Content-Type": "application/json"}


def nested(key: str, **more: str) -> Callable[[np.ndarray], bytes]:
    return lambda array: json.dumps({**more, key: array.tolist()}).encode()


def _v2_head(name: str, array: np.ndarray, binary: bool) -> bytes:
    tensor = {"name": name, "shape": array.shape, "datatype": "FP32"}
    if binary:
        tensor["parameters"] = {"binary_data_size": array.nbytes}
    else:
        tensor["data"] = array.ravel().tolist()
    head = {"inputs": [tensor]}
    if binary:
        head["parameters"] = {"binary_data_output": True}
    return json.dumps(head).encode()


def v2_json(name: str) -> Callable[[np.ndarray], bytes]:
    return lambda array: _v2_head(name, array, False)


def v2_binary(name: str) -> Callable[[np.ndarray], bytes]:
    return lambda array: _v2_head(name, array, True) + array.tobytes()


def binary_headers(name: str) -> Callable[[np.ndarray], dict[str, str]]:
    return lambda array: {"Inference-Header-Content-Length": str(len(_v2_head(name, array, True)))}


def plain(key: str = "data") -> Ask:
    return Ask("/json", nested(key), lambda array: JSON)


def ours(model: str, tensor: str) -> dict[str, Ask]:
    infer = f"/v2/models/{model}/infer"
    return {
        "JSON": Ask("/inference", nested("input_data", model_name=model), lambda array: JSON),
        "V2 JSON": Ask(infer, v2_json(tensor), lambda array: JSON),
        "V2 binary": Ask(infer, v2_binary(tensor), binary_headers(tensor)),
    }


def peers() -> list[Server]:
    return [
        Server(
            "Flask",
            ("flask", "gunicorn", "orjson"),
            lambda venv, port, model: [
                python(venv), "-m", "gunicorn", "-w", WORKERS, "-k", "gthread", "--threads", "4",
                "-b", f"127.0.0.1:{port}", "naive_flask:app",
            ],
            {
                "JSON": plain(),
                "V2 binary": Ask("/binary", v2_binary("x"), binary_headers("x")),
            },
        ),
        Server(
            "FastAPI",
            ("fastapi", "uvicorn[standard]"),
            lambda venv, port, model: [
                python(venv), "-m", "uvicorn", "--workers", WORKERS, "--port", str(port),
                "--log-level", "warning", "fastapi_app:app",
            ],
            {"JSON": plain()},
        ),
        Server(
            "LitServe", ("litserve",),
            lambda venv, port, model: [python(venv), "litserve_app.py", str(port)],
            {"JSON": plain()},
        ),
        Server(
            # MLServer 1.7 asks for the current event loop, which uvloop 0.22 no longer makes.
            "MLServer", ("mlserver", "uvloop<0.22"),
            lambda venv, port, model: [python(venv), "mlserver_start.py", str(port)],
            {"V2 JSON": Ask("/v2/models/m/infer", v2_json("x"), lambda array: JSON)},
        ),
        Server(
            "BentoML", ("bentoml",),
            lambda venv, port, model: [
                python(venv), "-m", "bentoml", "serve", "bentoml_app:Service", "--port", str(port),
            ],
            {"JSON": plain()},
        ),
    ]  # fmt: skip


def own(folder: Path, name: str, **environment: str) -> Server:
    """This project's server over a folder of models."""
    return Server(
        name, (),
        lambda venv, port, model: [
            sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"
        ],
        {},
        {
            "WORKERS": WORKERS, "MODELS_DIR": str(folder),
            "STATE_DIR": str(folder / f".{name.split()[-1]}"),
            "METRICS_PORT": "0", "BACKEND": "tflite", "TFLITE_RUNTIME": "tflite-runtime",
            "LOG_LEVEL": "warning", **environment,
        },
    )  # fmt: skip


def install(server: Server, cache: Path) -> Path:
    """Make a peer's own venv, once."""
    venv = cache / server.name.lower()
    if server.packages:
        venvs.install(venv, (*server.packages, *RUNTIME))
    return venv


class Running:
    """A server that runs for one model."""

    def __init__(self, server: Server, venv: Path, model: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        environment = {
            **os.environ, "MODEL": str(model), "PORT": str(self.port), "PYTHONWARNINGS": "ignore",
            "BENTOML_DO_NOT_TRACK": "true", **server.environment,
        }  # fmt: skip
        self._process = subprocess.Popen(
            server.command(venv, self.port, str(model)),
            cwd=HERE / "peers" if server.packages else ROOT, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def wait(self, works: Callable[[], bool], seconds: float = 40) -> None:
        """Wait until a first request succeeds."""
        end = time.monotonic() + seconds
        while True:
            try:
                if works():
                    return
            except OSError:
                time.sleep(0.2)
            if time.monotonic() > end or self._process.poll() is not None:
                self.stop()
                raise RuntimeError("the server did not come up")

    def memory(self) -> int:
        """Resident bytes of all its processes."""
        return sum(int(fields[RSS]) * 4096 for fields in self._stats())

    def cpu(self) -> float:
        """Seconds of CPU that all its processes have spent."""
        ticks = sum(int(fields[USER]) + int(fields[SYSTEM]) for fields in self._stats())
        return ticks / os.sysconf("SC_CLK_TCK")

    def _stats(self) -> list[list[str]]:
        """The process and all its descendants: some servers give each worker a session."""
        listed: dict[int, list[str]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                listed[int(path.parent.name)] = path.read_text().rpartition(") ")[2].split()
            except OSError:
                continue
        family = {self._process.pid}
        while more := {p for p, f in listed.items() if int(f[PARENT]) in family} - family:
            family |= more
        return [fields for pid, fields in listed.items() if pid in family]

    def settle(self, most: float = 10.0) -> None:
        """Wait until it does nothing any more: what was left behind is no part of what comes."""
        end = time.monotonic() + most
        while time.monotonic() < end:
            before = self.cpu()
            time.sleep(0.2)
            if self.cpu() - before < 0.03:
                return

    def stop(self) -> None:
        """End the process group that was started here."""
        try:
            os.killpg(self._process.pid, 15)
            self._process.wait(20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self._process.pid, 9)
        except ProcessLookupError:
            return

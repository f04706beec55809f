"""A process that forks a child for each check of a model: `python -m app.repository.checker`.

It has the runtimes imported and nothing else running, so a child costs milliseconds and may die.
Requests and answers are JSON lines on stdin and stdout; it ends when its parent does.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from app.backends.runtimes import installed, interpreter
from app.errors import ModelFileChanged, ServingError
from app.repository import oom
from app.repository.probe import limit, probe

IDLE_SECONDS = 60.0
ANSWER_LIMIT = 1 << 16
# A file's own names may be in it; JSON may take six bytes for a character, and a pipe takes 64 KB.
LONGEST_ERROR = 4000


def main() -> None:
    """Answer until the parent hangs up or nothing was asked for a while."""
    for runtime in installed():
        _import(runtime)
    print(json.dumps({"ready": True}), flush=True)
    source = sys.stdin.fileno()  # not the buffered file: select would not see what that holds
    pending = b""
    while True:
        if not select.select([source], [], [], IDLE_SECONDS)[0]:
            return
        block = os.read(source, 1 << 16)
        if not block:
            return
        *lines, pending = (pending + block).split(b"\n")
        for line in lines:
            print(json.dumps(_checked(json.loads(line))), flush=True)


def _checked(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return check(request)
    except OSError as error:
        return {"no_room": str(error)}


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Try one model in one runtime, in a child.

    Units:  request["seconds"] of wall time, request["memory_mb"] of address space.
    Raises: OSError if the system has no room for a child.
    """
    receive, send = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(receive)
        os.close(send)
        raise
    if pid == 0:
        os.close(receive)
        _child(request, send)
    os.close(send)
    answer = _read(receive, time.monotonic() + request["seconds"])
    os.close(receive)
    if answer is None:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if answer:
        return dict(json.loads(answer))
    if answer is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        # Nobody but the kernel does that, for want of memory: it says little of the model.
        return {"no_room": "the process that checked it was killed, perhaps for want of memory"}
    late = answer is None
    return {"error": _why(status, request, answer), "late": late, "crash": not late}


def _why(status: int, request: dict[str, Any], answer: bytes | None) -> str:
    if answer is None:
        return f"its check took longer than {request['seconds']:g} s"
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        if name == "SIGXCPU":
            return f"its check took longer than {request['seconds']:g} s of CPU time"
        return f"{request['runtime']} crashed on it ({name})"
    return f"{request['runtime']} ended the checking process (status {status})"


def _read(pipe: int, deadline: float) -> bytes | None:
    """Read to the end; None when the time is up."""
    parts: list[bytes] = []
    while (left := deadline - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            block = os.read(pipe, ANSWER_LIMIT)
            if not block:
                return b"".join(parts)
            parts.append(block)
    return None


def _child(request: dict[str, Any], send: int) -> None:
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        oom.volunteer()
        limit(request["seconds"], request["memory_mb"])
        try:
            path, sha256 = Path(request["path"]), request["sha256"]
            answer = probe(path, sha256, request["runtime"], request["threads"])
        except ModelFileChanged as error:
            answer = {"changed": str(error)}
        except ServingError as error:
            answer = {"error": str(error)[:LONGEST_ERROR]}
        except MemoryError:
            answer = {"error": f"it needs more than {request['memory_mb']} MB"}
        os.write(send, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _import(runtime: str) -> None:
    """Load the native library, so that no child has to."""
    try:
        interpreter(runtime, b"", 1)
    except (ValueError, RuntimeError):
        return


if __name__ == "__main__":
    main()

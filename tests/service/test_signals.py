"""A signal costs no request, whether the master gets it or a worker itself."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.service import tiny
from tests.service.live import Load, Server

ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


def test_no_signal_costs_a_request(tmp_path: Path) -> None:
    with Server(tmp_path, workers=3) as server:
        assert server.upload("m", "1", tiny.deep(10)).status_code == 200
        body = [[0.0] * 1024] * 5
        with Load(lambda: server.infer("m", body), threads=4) as load:
            server.until(lambda: len(load.answers) > 10)
            before = server.pids()
            for pid, number in zip(before, ENDING, strict=True):
                os.kill(pid, number)
            server.until(lambda: len(server.pids()) == 3 and not set(before) & set(server.pids()))
            server.wait_ready()
            victim = server.pids()[0]
            for number in (signal.SIGUSR1, signal.SIGWINCH):
                os.kill(victim, number)
            done = len(load.answers)
            server.until(lambda: len(load.answers) > done + 10)
        assert load.failed() == []
        assert victim in server.pids()
        assert "Traceback" not in server.text()

        # Ctrl-C reaches the master and the workers at once.
        with Load(lambda: server.infer("m", body), threads=4) as load:
            server.until(lambda: len(load.answers) > 10)
            for pid in server.pids():
                os.kill(pid, signal.SIGINT)
            assert server.stop(signal.SIGINT) == 0
            end = time.monotonic() + 5
            while not load.errors and time.monotonic() < end:
                time.sleep(0.01)
        assert [a.status_code for a in load.answers if a.status_code != 200] == []
        assert [error for error in load.errors if "refused" not in error] == []

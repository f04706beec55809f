"""Scrapes of a server that is offered five times what it can do; see bench.metrics --overload.

What is offered does not wait for answers: requests start at a fixed rate, as those of many callers
do, and are given up after a while. The exporter's port and GET /metrics of the API are scraped at
the same time, each by a process of its own session that goes first where it may (root): Prometheus
is mostly another machine, and a scraper that waits for the CPU times itself.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.monitoring.running import Tiny, tiny_server

FACTOR = 5
LIMIT = 250
"""Milliseconds within which a scrape has to be answered."""
PATH = "/work?seconds=0.05"

# Arguments: port, path, requests per second, seconds. Prints how many were answered and given up.
LOAD = """
import asyncio, json, sys, time
port, path, rate, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
seen = {"answered": 0, "given up": 0}
async def exchange():
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.0\\r\\nHost: a\\r\\n\\r\\n".encode())
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
async def call():
    try:
        good = await asyncio.wait_for(exchange(), 2)
    except (OSError, TimeoutError):
        good = False
    seen["answered" if good else "given up"] += 1
async def main():
    start, tasks = time.monotonic(), set()
    while (now := time.monotonic() - start) < seconds:
        while len(tasks) + sum(seen.values()) < now * rate:
            tasks.add(task := asyncio.create_task(call()))
            task.add_done_callback(tasks.discard)
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
asyncio.run(main())
print(json.dumps(seen))
"""

SCRAPE = """
import contextlib, json, os, sys, time, urllib.request
with contextlib.suppress(PermissionError):
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
took = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    try:
        urllib.request.urlopen(sys.argv[1], timeout=10).read()
        took.append(1000 * (time.perf_counter() - start))
    except OSError:
        took.append(10_000)
    time.sleep(max(0, 1 - took[-1] / 1000))
print(json.dumps(took))
"""


def overload(scrapes: int = 100) -> None:
    """Print what scrapes took while a tiny server with two workers was overloaded."""
    with tempfile.TemporaryDirectory() as folder, tiny_server(Path(folder), workers=2) as server:
        capacity = _capacity(server)
        rate, seconds = FACTOR * capacity, scrapes + 20
        load = _python(LOAD, server.port, PATH, rate, seconds)
        time.sleep(3)
        scrapers = {
            "exporter": _python(SCRAPE, server.metrics_url, scrapes),
            "GET /metrics of the API": _python(SCRAPE, server.url + "/metrics", scrapes // 5),
        }
        print(f"capacity {capacity:.0f}/s, offered {rate:.0f}/s for {seconds} s")
        for name, scraper in scrapers.items():
            took = json.loads(scraper.communicate()[0])
            late = sum(ms >= LIMIT for ms in took)
            median, longest = statistics.median(took), max(took)
            print(f"{name:24} {len(took) - late} of {len(took)} in < {LIMIT} ms; "
                  f"median {median:.1f} ms, longest {longest:.0f} ms")  # fmt: skip
        print(load.communicate()[0].decode().strip())


def _capacity(server: Tiny, seconds: float = 4) -> float:
    before = server.total("rx580_http_requests_total", handler="/work", status="200")
    # More than the workers' threads, and the queue stays short.
    callers = [_python(LOAD, server.port, PATH, 60, seconds)]
    for caller in callers:
        caller.wait()
    done = server.total("rx580_http_requests_total", handler="/work", status="200") - before
    return done / (seconds + 2)


def _python(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)],
                            stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip

"""Draw dashboards with Grafana's own components in headless Chromium, from Prometheus' answers."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import requests

from tests.tools import require_tool

SOURCE = Path(__file__).parent / "panels"
STEP = 1
"""Seconds between two points; gaps of more are drawn as gaps."""

STYLE = """
body { margin: 0; background: #111217; color: #ccccdc; font: 14px sans-serif }
* { box-sizing: border-box }
button { background: none; border: 0; padding: 0; color: inherit; font: inherit }
"""

BUNDLE = [
    "--bundle", "--minify", '--define:process.env.NODE_ENV="production"',
    "--loader:.ttf=empty", "--loader:.css=empty", "--loader:.svg=dataurl", "--loader:.woff2=empty",
]  # fmt: skip


def bundle(cache: Path) -> Path:
    """Install the components and bundle them, once for each version of the sources."""
    require_tool("npm")
    require_tool("chromium")
    package = (SOURCE / "package.json").read_bytes()
    folder = cache / f"panels-{hashlib.sha256(package).hexdigest()[:16]}"
    done = folder / "installed"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_bytes(package)
        # No scripts: nothing here needs one, and a package's script is somebody's code.
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
            cwd=folder, check=True, timeout=600,
        )  # fmt: skip
        done.touch()
    source = (SOURCE / "main.jsx").read_bytes()
    out = folder / f"{hashlib.sha256(source + str(BUNDLE).encode()).hexdigest()[:16]}.js"
    if not out.exists():
        shutil.copy(SOURCE / "main.jsx", folder / "main.jsx")
        subprocess.run(
            ["node_modules/.bin/esbuild", "main.jsx", *BUNDLE, f"--outfile={out}"],
            cwd=folder, check=True, timeout=120,
        )  # fmt: skip
    return out


def answers(prometheus: str, panel: dict[str, Any], concrete: Any, start: float,
            end: float) -> list[dict[str, Any]]:  # fmt: skip
    """Ask Prometheus for a panel's lines, with nulls where there is no sample."""
    grid = [start + STEP * n for n in range(int((end - start) / STEP) + 1)]
    if panel["type"] == "stat":
        grid = [end]
    series = []
    for target in panel["targets"]:
        reply = requests.get(
            f"{prometheus}/api/v1/query_range", timeout=30,
            params={"query": concrete(target["expr"]), "start": grid[0], "end": end, "step": STEP},
        ).json()  # fmt: skip
        for result in reply["data"]["result"]:
            values = {round(float(t)): float(v) for t, v in result["values"]}
            legend = re.sub(r"\{\{(\w+)\}\}", lambda m, r=result: r["metric"].get(m[1], ""),
                            target["legendFormat"])  # fmt: skip
            points = [values.get(round(t)) for t in grid]
            series.append({
                "name": legend, "index": len(series), "times": [1000 * t for t in grid],
                "values": [None if v is None or v != v else v for v in points],
            })  # fmt: skip
    return series


def draw(board: dict[str, Any], prometheus: str, concrete: Any, start: float, end: float,
         script: Path, picture: Path) -> dict[str, int]:  # fmt: skip
    """Draw every panel from start to end into one picture; give the lines drawn by panel.

    Units:  start and end in whole seconds of time.time().
    Raises: AssertionError if a panel is missing or a component failed.
    """
    panels = [
        panel | {"series": answers(prometheus, panel, concrete, start, end)}
        for panel in board["panels"]
        if panel["type"] != "row"
    ]
    data = {"range": [1000 * start, 1000 * end], "panels": panels}
    page = picture.with_suffix(".html")
    text = json.dumps(data).replace("</", "<\\/")
    styles = (script.parent / "node_modules/uplot/dist/uPlot.min.css").read_text()
    page.write_text(
        f"<!doctype html><meta charset=utf-8><style>{STYLE}{styles}</style><div id=root></div>"
        f"<script>window.BOARD={text}</script><script src='{script}'></script>"
    )
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels) * 30 + 20
    dom = _chromium(page, picture, height)
    page.unlink()
    drawn = {_plain(m[1]): int(m[2])
             for m in re.finditer(r'data-panel="([^"]+)" data-series="(\d+)"', dom)}  # fmt: skip
    assert not re.findall(r"data-fault=.{0,500}", dom, re.DOTALL)
    assert set(drawn) == {panel["title"] for panel in panels}
    return drawn


def _plain(text: str) -> str:
    return text.replace("&amp;", "&")


def _chromium(page: Path, picture: Path, height: int) -> str:
    profile = picture.with_suffix(".profile")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", f"--user-data-dir={profile}",
             f"--window-size=960,{height}", "--virtual-time-budget=8000"]  # fmt: skip
    try:
        subprocess.run(["chromium", *flags, f"--screenshot={picture}", page.as_uri()],
                       check=True, capture_output=True, timeout=120)  # fmt: skip
        run = subprocess.run(["chromium", *flags, "--dump-dom", page.as_uri()],
                             check=True, capture_output=True, text=True, timeout=120)  # fmt: skip
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    return run.stdout

"""Writes the comparison as a table and a plot."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.serving.load import Result
from bench.serving.overload import Overload

COLOURS = ("#c0392b", "#2980b9", "#27ae60", "#8e44ad", "#f39c12", "#7f8c8d")
Cell = tuple[str, str, str, int]


@dataclass(frozen=True)
class Measured:
    """Answers a second, latencies in ms, CPU ms of the server a request, refusals a second."""

    rate: float
    p50: float
    p99: float
    cpu: float
    refused: float = 0.0

    def __str__(self) -> str:
        return f"{self.rate:.0f}/s p50 {self.p50:.1f} p99 {self.p99:.1f} cpu {self.cpu:.2f} ms"


def median(measured: list[Measured]) -> Measured:
    """The median of each figure over the rounds."""
    return Measured(
        *(
            statistics.median(getattr(one, name) for one in measured)
            for name in ("rate", "p50", "p99", "cpu", "refused")
        )
    )


def write(folder: Path, cells: dict[Cell, list[Measured]], pushed: Overload) -> None:
    """Write serving.md and serving.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    medians = {cell: median(measured) for cell, measured in cells.items()}
    rounds = sorted({len(measured) for measured in cells.values()})
    load = os.getloadavg()[2]
    parts = [
        "# Serving, compared\n",
        "Written by `make bench-serving`; the same models, runtime (tflite-runtime, one thread) and"
        " two workers for all; the load generator shares the machine. Closed loop: so many"
        " connections, each sends its next request when it has its answer. A rate counts answers"
        " of status 200; (refused n) are 503s a second beside them.\n",
        f"Machine: {os.cpu_count()} cores, Python {platform.python_version()}, load average of the"
        f" last 15 minutes {load:.1f}; medians over {' to '.join(map(str, rounds))} interleaved"
        " round(s). With a load average above the number of cores other work ran meanwhile: then"
        " only ratios, and above all the CPU time a request, mean anything.\n",
        "![Requests a second at concurrency 8](serving.svg)\n",
    ]
    parts += [_table(model, medians) for model in dict.fromkeys(cell[1] for cell in cells)]
    parts += [_ratios(medians), overload(pushed)]
    (folder / "serving.md").write_text("\n".join(parts))
    (folder / "serving.svg").write_text(_plot(medians))


def _table(model: str, medians: dict[Cell, Measured]) -> str:
    chosen = {cell: one for cell, one in medians.items() if cell[1] == model}
    levels = sorted({cell[3] for cell in chosen})
    head = " | ".join(f"c={many}: req/s, p50/p99 ms" for many in levels)
    rows = [
        f"## The {model} model\n",
        f"| Server | Asked by | {head} | CPU ms a request (c={levels[0]}) |",
        "|---|---|" + "---|" * (len(levels) + 1),
    ]
    for server, way in dict.fromkeys((cell[0], cell[2]) for cell in chosen):
        shown = []
        for many in levels:
            one = chosen.get((server, model, way, many))
            shown.append(_cell(one) if one else "–")
        first = chosen.get((server, model, way, levels[0]))
        # A server that detaches its processes hides their CPU time.
        cpu = f"{first.cpu:.2f}" if first and first.cpu else "–"
        rows.append(f"| {server} | {way} | {' | '.join(shown)} | {cpu} |")
    return "\n".join(rows) + "\n"


def _cell(one: Measured) -> str:
    text = f"{one.rate:.0f}, {one.p50:.1f}/{one.p99:.1f}"
    return f"{text} (refused {one.refused:.0f})" if one.refused >= 1 else text


# The goals: what is compared with what, at concurrency 8, and the ratio aimed at.
_GOALS: tuple[tuple[str, str, str, str, str, float], ...] = (
    ("tiny", "ours", "JSON", "FastAPI", "JSON", 1.0),
    ("tiny", "ours", "JSON", "LitServe", "JSON", 4.0),
    ("tiny", "ours", "V2 JSON", "MLServer", "V2 JSON", 4.0),
    ("tiny", "ours", "JSON", "BentoML", "JSON", 4.0),
    ("image", "ours, batching", "V2 binary", "MLServer", "V2 JSON", 6.0),
    ("image", "ours, batching", "V2 binary", "Flask", "V2 binary", 1.0),
    ("image", "ours", "JSON", "Flask", "JSON", 4.0),
)


# Measured by hand, with the inputs of the bench; what the bench cannot tell from outside.
_JSON_FLOOR = """\
Nested JSON cannot reach its goal with these parts. Measured alone, in CPU time of one thread: of a
1.03 MB body the naive server's `orjson.loads` and `numpy.asarray` take 10.6 ms, the model 1.2 and
writing the answer 0.4, 12.2 ms together; a quarter of that is 3.05 ms. pysimdjson (AVX-512) parses
the same body in 1.7 ms and hands the numbers over in 0.2, so that with the model and the answer
3.5 ms are the floor, 3.5×, before anything of a server. Checking that no list is ragged, which the
library does not tell, costs 1.1 ms more.
"""


def _ratios(medians: dict[Cell, Measured]) -> str:
    rows = [
        "## Ratios at concurrency 8\n",
        "| Model | This server | Beside | Requests/s | CPU time, theirs to ours | Goal |",
        "|---|---|---|---|---|---|",
    ]
    for model, name, way, other, its_way, goal in _GOALS:
        mine = medians.get((name, model, way, 8))
        theirs = medians.get((other, model, its_way, 8))
        if mine is None or theirs is None or not theirs.rate:
            continue
        cpu = f"{theirs.cpu / mine.cpu:.1f}×" if mine.cpu and theirs.cpu else "–"
        rows.append(
            f"| {model} | {name}, {way} | {other}, {its_way} | "
            f"{mine.rate / theirs.rate:.1f}× | {cpu} | {goal:g}× |"
        )
    return "\n".join(rows) + "\n\n" + _JSON_FLOOR


def overload(seen: Overload) -> str:
    """The part of the page about more than the server can do."""
    calm = seen.calm.median(Result.rate), *(seen.calm.median(_quantile(q)) for q in (0.5, 0.99))
    first = seen.offered[0].median(_quantile(0.99)) or 1.0
    rows = [
        "## More than it can do (image, V2 binary, open loop)\n",
        f"The generator has a core of its own ({seen.cores}), so that its cost is not the"
        f" server's. {len(seen.offered[0].results)} rounds of each rate in turn, between closed"
        " loops at concurrency 8: a rate is offered as a multiple of what the loop before it"
        " answered, and the share is of what the loops before and behind it did. Medians over the"
        f" rounds. At 8: {calm[0]:.0f}/s, p50 {calm[1]:.1f} ms, p99 {calm[2]:.1f} ms.\n",
        "| Offered | Answered/s | of the peak, each round | p50/p99 ms of the answered | "
        "p99 to that of 1× | p99 to that of c=8 | "
        "Refused (503)/s | p99 ms of refusals | Broken | Not sent | CPU s of the server |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in seen.offered:
        p99 = one.median(_quantile(0.99))
        shares = ", ".join(f"{share:.0%}" for share in one.goodput)
        rows.append(
            f"| {one.factor:g}× | {one.median(Result.rate):.0f} | "
            f"**{statistics.median(one.goodput):.0%}** ({shares}) | "
            f"{one.median(_quantile(0.5)):.1f}/{p99:.1f} | {p99 / first:.1f}× | "
            f"{p99 / (calm[2] or 1.0):.1f}× | "
            f"{one.median(lambda result: result.rate(503)):.0f} | "
            f"{one.median(lambda result: result.quantile(0.99, 503)):.1f} | "
            f"{sum(result.broken for result in one.results)} | "
            f"{sum(result.unsent for result in one.results)} | {statistics.median(one.spent):.1f} |"
        )
    watched = "; ".join(
        f"{name}: p50 {statistics.median(found):.0f}, worst {max(found):.0f}"
        for name, found in seen.watched.items()
    )
    after = ", ".join(f"{p50:.1f} (at {at:.1f} s)" for at, p50 in seen.after)
    rows += [
        f"\nOnce more at 5×, the pages looked at meanwhile, in ms: {watched}.",
        f"\nWhen it ends, the p50 in ms at concurrency 8: {after}; between the rounds it was"
        f" {calm[1]:.1f}.",
        f"\nResident memory of all processes: {seen.rss[0] / 1e6:.0f} MB before, "
        f"{seen.rss[1] / 1e6:.0f} MB after.",
    ]
    return "\n".join(rows) + "\n"


def _quantile(share: float) -> Callable[[Result], float]:
    return lambda result: result.quantile(share)


def _plot(medians: dict[Cell, Measured]) -> str:
    bars = [(cell, one.rate) for cell, one in medians.items() if cell[3] == 8]
    names = list(dict.fromkeys(cell[0] for cell, _ in bars))
    height = 24 * len(bars) + 20
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for row, (cell, rate) in enumerate(bars):
        largest = max(value for other, value in bars if other[1] == cell[1])
        width = max(1.0, 400 * rate / max(1.0, largest))
        y = 10 + row * 24
        colour = COLOURS[names.index(cell[0]) % len(COLOURS)]
        lines += [
            f'<text x="230" y="{y + 14}" text-anchor="end">{cell[1]}: {cell[0]}, {cell[2]}</text>',
            f'<rect x="240" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>',
            f'<text x="{246 + width:.1f}" y="{y + 14}">{rate:.0f}/s</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])

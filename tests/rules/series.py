"""Write promtool's input series as phases: so many minutes at such a rate or value."""

from __future__ import annotations

STEP = 15
"""Seconds between two samples."""

Phase = tuple[float, float | None]
"""Minutes, and the rate per second (counter) or value (gauge); None where there is no sample."""


def counter(*phases: Phase, step: int = STEP) -> str:
    """Give a counter that grows at each phase's rate; a rate below zero resets it to 0."""
    value, parts = 0.0, ["0"]
    for minutes, rate in phases:
        count = round(minutes * 60 / step)
        if rate is None:
            parts.append(f"_x{count}")
            continue
        if rate < 0:
            value, rate = 0.0, -rate
        grow = rate * step
        parts.append(f"{value + grow:g}+{grow:g}x{count - 1}")
        value += grow * count
    return " ".join(parts)


def gauge(*phases: Phase, step: int = STEP) -> str:
    """Give a gauge with each phase's value."""
    parts = []
    for minutes, value in phases:
        count = round(minutes * 60 / step)
        parts.append(f"_x{count}" if value is None else f"{value:g}+0x{count - 1}")
    return " ".join(parts)


def histogram(name: str, labels: str, edges: dict[str, tuple[Phase, ...]],
              step: int = STEP) -> dict[str, str]:  # fmt: skip
    """Give the cumulative bucket series by edge, and the count, which equals the last edge."""
    series = {
        f'{name}_bucket{{{labels},le="{edge}"}}': counter(*phases, step=step)
        for edge, phases in edges.items()
    }
    series[f"{name}_count{{{labels}}}"] = counter(*edges["+Inf"], step=step)
    return series

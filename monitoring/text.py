"""Metric families as text: Prometheus' own format, or OpenMetrics.

prometheus_client's encoders check and escape every label again at each scrape, which is most of a
scrape's time; here a series' name and labels are written once and remembered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

OPENMETRICS = "application/openmetrics-text"

Labels = tuple[tuple[str, str], ...]


def render(families: Iterable[Metric], accept: str) -> tuple[str, str]:
    """Give the page and its content type for an Accept header."""
    openmetrics = any(part.partition(";")[0].strip() == OPENMETRICS for part in accept.split(","))
    lines: list[str] = []
    for family in families:
        lines += _head(family.name, family.type, family.documentation, openmetrics)
        lines += [
            _series(sample.name, tuple(sample.labels.items())) + _number(sample.value)
            for sample in family.samples
        ]
    if openmetrics:
        lines.append("# EOF")
    text = "\n".join(lines) + "\n" if lines else ""
    return text, CONTENT_TYPE_LATEST if openmetrics else CONTENT_TYPE_PLAIN_0_0_4


@lru_cache(maxsize=10_000)
def _head(name: str, kind: str, about: str, openmetrics: bool) -> tuple[str, str]:
    # A counter's family is called without _total in OpenMetrics and with it in the older format.
    shown = name if openmetrics or kind != "counter" else name + "_total"
    about = about.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        about = about.replace('"', r"\"")
    return f"# HELP {shown} {about}", f"# TYPE {shown} {kind}"


@lru_cache(maxsize=100_000)
def _series(name: str, labels: Labels) -> str:
    if not labels:
        return name + " "
    return name + "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in labels) + "} "


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"

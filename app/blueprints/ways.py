"""Which requests take the short way, and where they go."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.blueprints import inference, v2
from app.blueprints.serving import Sent, Serving
from app.front.body import Buffer
from app.front.head import Head
from app.repository.names import NAME
from monitoring.http import Exchanges

_MODEL = rf"(?P<name>{NAME.pattern})"
_VERSION = rf"/versions/(?P<version>{NAME.pattern})"
Answer = Callable[
    [Serving, Buffer, Mapping[str, Any], float, str, "str | None", "str | None"],
    tuple[Sent, dict[str, object]],
]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: whose way to answer it, and to which model, if its path says so.

    ranked: its body may name a priority.
    """

    answer: Answer
    counts: Exchanges
    named: bool
    name: str | None
    version: str | None
    ranked: bool


@dataclass(frozen=True, slots=True)
class _Way:
    pattern: re.Pattern[str]
    handler: str
    answer: Answer
    json_only: bool = True


class Ways:
    """The inference endpoints, for JSON and the protocol's own requests."""

    def __init__(self, pages: bool) -> None:
        """Leave what comes from pages of allowed origins to Flask, if there are any."""
        self._pages = pages
        self._ways = [(way, Exchanges(way.handler)) for way in _ways()]

    def match(self, head: Head) -> Route | None:
        """Give the route of an inference that is JSON or the protocol's; None for all else."""
        path = head.path
        if head.method != "POST" or not path.endswith(("/infer", "/inference")):
            return None
        if self._pages and "HTTP_ORIGIN" in head.fields:
            return None
        if head.length == 0 or (head.message is not None and head.message.query):
            return None
        for way, counts in self._ways:
            found = way.pattern.fullmatch(path)
            if found is not None:
                if way.json_only and not inference.is_json(head.fields.get("CONTENT_TYPE")):
                    return None
                groups = found.groupdict()
                name = groups.get("name")
                return Route(
                    way.answer, counts, name is not None, name, groups.get("version"),
                    ranked=way.answer is v2.answer,
                )  # fmt: skip
        return None


def named(route: Route, body: Buffer) -> Route:
    """Find out which model a body is for, where that can be had cheaply."""
    if route.name is None:
        name = inference.glimpse(body)
        return Route(route.answer, route.counts, False, name, None, route.ranked) if name else route
    return route


def _ways() -> tuple[_Way, ...]:
    v2_path, path = rf"/v2/models/{_MODEL}", rf"/models/{_MODEL}"
    rows: tuple[tuple[str, str, Answer, bool], ...] = (
        (rf"{v2_path}/infer", "/v2/models/<name>/infer", v2.answer, False),
        (
            rf"{v2_path}{_VERSION}/infer",
            "/v2/models/<name>/versions/<version>/infer", v2.answer, False,
        ),
        (r"/inference", "/inference", inference.answer_json, True),
        (rf"{path}/infer", "/models/<name>/infer", inference.answer_json, True),
        (
            rf"{path}{_VERSION}/infer",
            "/models/<name>/versions/<version>/infer", inference.answer_json, True,
        ),
    )  # fmt: skip
    return tuple(_Way(re.compile(p), handler, answer, only) for p, handler, answer, only in rows)

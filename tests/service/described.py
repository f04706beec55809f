"""Whether an answer is one that the server's own description of its API knows."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import requests

_NAME = r"[^/]+"


class Described:
    """The operations of an OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._paths = [
            (re.compile(re.sub(r"\\\{\w+\\\}", _NAME, re.escape(path))), methods)
            for path, methods in document["paths"].items()
        ]

    def check(self, answer: requests.Response) -> None:
        """Raise AssertionError where status, type or headers of an answer are not described."""
        path, method = urlsplit(answer.url).path, str(answer.request.method).lower()
        # The paths with fewer parameters come first in the document.
        found = [methods for pattern, methods in self._paths if pattern.fullmatch(path)]
        if not found or method not in found[0]:
            assert answer.status_code in (404, 405) or method in ("head", "options"), answer.text
            return
        where = f"{method} {path} answered {answer.status_code}: {answer.text[:300]}"
        response = found[0][method]["responses"].get(str(answer.status_code))
        assert response is not None, where
        kind = answer.headers["Content-Type"].partition(";")[0]
        assert kind in response["content"], where
        required = {name for name, it in response["headers"].items() if it.get("required")}
        assert required <= set(answer.headers), where

"""The head of a request: plain ones are read at a glance, the rest by gunicorn's parser."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Any

from gunicorn import util
from gunicorn.http.errors import NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

END = b"\r\n\r\n"
# A head that is longer, or has anything that this does not show, is read by gunicorn's parser.
_QUICK_BYTES = 4096
_QUICK = re.compile(
    rb"POST (/[A-Za-z0-9._/-]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[\t -~]*\r\n)+)\r\n"
)
# Fields that change how a message is framed or answered: not for the quick reading.
_SPECIAL = frozenset(("transfer-encoding", "expect", "upgrade", "trailer"))
# Fields that may come once only, as the WSGI environment names them.
_KEPT = {
    "host": "HTTP_HOST",
    "content-type": "CONTENT_TYPE",
    "content-length": "CONTENT_LENGTH",
    "content-encoding": "HTTP_CONTENT_ENCODING",
    "accept-encoding": "HTTP_ACCEPT_ENCODING",
    "inference-header-content-length": "HTTP_INFERENCE_HEADER_CONTENT_LENGTH",
    "connection": "HTTP_CONNECTION",
    "x-request-id": "HTTP_X_REQUEST_ID",
    "x-request-timeout": "HTTP_X_REQUEST_TIMEOUT",
    "x-caller": "HTTP_X_CALLER",
}
_CONNECTION = {"keep-alive": False, "close": True}


@dataclass(slots=True)
class Head:
    """What a head says.

    fields has what the short way may need, by the names of a WSGI environment.
    Units: length in bytes of the body, None if it comes in chunks.
    message is gunicorn's own object; a quick reading makes none.
    """

    method: str
    path: str
    fields: dict[str, str]
    length: int | None
    close: bool
    expects: bool = False
    message: Any = None


def json_length(head: Head) -> int | None:
    """Read how many bytes of JSON come before the first tensor.

    Units: bytes; None if the head does not say, or says no number.
    """
    text = head.fields.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH", "")
    return int(text) if text.isdigit() and len(text) < 10 else None


def quick(data: bytes) -> Head | None:
    """Read a plain POST; None for whatever is not so plain that it can be read at a glance."""
    match = _QUICK.match(data) if len(data) <= _QUICK_BYTES else None
    if match is None:
        return None
    fields: dict[str, str] = {}
    for line in match[2].decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        kept = _KEPT.get(name)
        if kept is None:
            if name in _SPECIAL:
                return None
        elif kept in fields:
            return None
        else:
            fields[kept] = value.strip(" \t")
    length = fields.get("CONTENT_LENGTH", "")
    close = _CONNECTION.get(fields.get("HTTP_CONNECTION", "keep-alive").lower())
    if not length.isdigit() or len(length) > 15 or close is None:
        return None
    return Head("POST", match[1].decode("ascii"), fields, int(length), close)


def full(cfg: Any, data: bytes, peer: Any, number: int) -> Head:
    """Read any head.

    Raises: gunicorn.http.errors.ParseException.
    """
    message = Request(cfg, IterUnreader(iter((data,))), peer, number)
    named = dict(message.headers)
    fields = {key: named[name.upper()] for name, key in _KEPT.items() if name.upper() in named}
    chunked = "TRANSFER-ENCODING" in named
    length = None if chunked else int(fields.get("CONTENT_LENGTH", "0"))
    # Decided here, from the head alone; gunicorn's own answer would be sent at another time.
    expects, message._expected_100_continue = message._expected_100_continue, False
    path = util.unquote_to_wsgi_str(message.path)
    return Head(
        message.method, path, fields, length, bool(message.should_close()), expects, message
    )


def check_unfinished(cfg: Any, data: bytes, peer: Any, number: int) -> None:
    """Refuse early what can no longer become a head.

    Raises: gunicorn.http.errors.ParseException.
    """
    with contextlib.suppress(NoMoreData, StopIteration):
        Request(cfg, IterUnreader(iter((data,))), peer, number)

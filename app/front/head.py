"""The head of a request: plain ones are read at a glance, the rest by gunicorn's parser."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Any

from gunicorn import util
from gunicorn.http.errors import (
    InvalidHeader,
    InvalidRequestLine,
    LimitRequestHeaders,
    NoMoreData,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

END = b"\r\n\r\n"
# All that comes before a body. Units: bytes.
LARGEST = 1 << 16
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
    "origin": "HTTP_ORIGIN",
    "x-request-id": "HTTP_X_REQUEST_ID",
    "x-request-timeout": "HTTP_X_REQUEST_TIMEOUT",
    "x-caller": "HTTP_X_CALLER",
}
_CONNECTION = {"keep-alive": False, "close": True}
# Source: RFC 3986, 3.2.2 and 3.2.3; an empty one is allowed.
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%~_-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
# What a request may begin with: a method, behind one empty line at most.
_BEGINNING = re.compile(rb"\r?\Z|(?:\r\n)?(?:[!#$%&'*+.^_`|~0-9A-Za-z-]|\Z)")


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
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


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
    if _HOST.fullmatch(fields.get("HTTP_HOST", "?")) is None:
        return None
    return Head("POST", match[1].decode("ascii"), fields, int(length), close)


def full(cfg: Any, data: bytes, peer: Any, number: int) -> Head:
    """Read any head.

    Raises: gunicorn.http.errors.ParseException.
    """
    _check_beginning(data)
    message = Request(cfg, IterUnreader(iter((data,))), peer, number)
    named = dict(message.headers)
    fields = {key: named[name.upper()] for name, key in _KEPT.items() if name.upper() in named}
    _check_host(message, named.get("HOST"))
    # An answer has the server's own version, where the request's is a later one.
    message.version = min(message.version, (1, 1))
    codings = _listed(message, "TRANSFER-ENCODING")
    if codings and codings != ["chunked"]:
        # gunicorn takes gzip before it, and would leave it to the app to undo.
        raise UnsupportedTransferCoding(", ".join(codings))
    length = None if codings else int(fields.get("CONTENT_LENGTH", "0"))
    # Decided here, from the head alone; gunicorn's own answer would be sent at another time.
    expects, message._expected_100_continue = message._expected_100_continue, False
    path = util.unquote_to_wsgi_str(message.path)
    # One of several options counts as well; gunicorn looks for a lone one.
    close = bool(message.should_close()) or "close" in _listed(message, "CONNECTION")
    return Head(message.method, path, fields, length, close, expects, message)


def check_unfinished(cfg: Any, data: bytes, peer: Any, number: int) -> None:
    """Refuse early what can no longer become a head.

    Raises: gunicorn.http.errors.ParseException.
    """
    _check_beginning(data)
    with contextlib.suppress(NoMoreData, StopIteration):
        Request(cfg, IterUnreader(iter((data,))), peer, number)


def check_size(size: int) -> None:
    """Refuse a head of so many bytes, or that has so many and no end yet.

    Raises: gunicorn.http.errors.LimitRequestHeaders.
    """
    if size > LARGEST:
        raise LimitRequestHeaders(f"the head has more than {LARGEST} bytes")


def _check_host(message: Any, host: str | None) -> None:
    """Hold HTTP/1.1 to its rule that whoever asks says whom: proxies and caches go by it.

    Source: RFC 9112, 3.2.
    """
    missing = host is None and message.version >= (1, 1)
    if missing or _HOST.fullmatch(host or "") is None:
        raise InvalidHeader("HOST")


def _check_beginning(data: bytes) -> None:
    """Tell at once who speaks something else, TLS for example: its line might never end."""
    if not _BEGINNING.match(data):
        raise InvalidRequestLine(data[:16])


def _listed(message: Any, field: str) -> list[str]:
    """Give the members of a field that is a list, from every time that it is there."""
    values = ",".join(value for name, value in message.headers if name == field)
    return [member for part in values.split(",") if (member := part.strip(" \t").lower())]

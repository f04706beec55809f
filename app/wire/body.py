"""Compressed bodies, both ways, with a bound on what they may grow to."""

from __future__ import annotations

import zlib

from app.errors import InvalidRequest, RequestTooLarge, UnsupportedMedia

Buffer = bytes | memoryview
# wbits of zlib: gzip's header and checksum, or zlib's.
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
CODINGS = ("identity", *_WINDOWS)
# Level 1: answers are floats, which higher levels hardly shrink further.
_LEVEL = 1
# What follows a member is copied for each: neither may it be long, nor may there be many.
_BLOCK = 1 << 16
_MEMBERS = 4096


def decoded(body: Buffer, encoding: str | None, limit: int) -> Buffer:
    """Undo a Content-Encoding.

    Units:  limit in bytes of the decoded body.
    Raises: UnsupportedMedia for another coding; InvalidRequest for damaged data;
            RequestTooLarge if it would grow beyond limit.
    """
    coding = (encoding or "identity").strip().lower()
    if coding in ("identity", ""):
        return body
    if coding not in _WINDOWS:
        raise UnsupportedMedia(
            f"Content-Encoding {coding!r:.60} is not read here; allowed are {', '.join(CODINGS)}"
        )
    return _inflated(memoryview(body), coding, limit)


def _inflated(body: memoryview, coding: str, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    # gzip allows several members in a row; zlib's format does not.
    for _ in range(_MEMBERS + 1):
        if not body:
            return b"".join(parts)
        stream = zlib.decompressobj(_window(body, coding))
        while body and not stream.eof:
            block = body[:_BLOCK]
            try:
                part = stream.decompress(block, room + 1)
            except zlib.error as error:
                raise InvalidRequest(f"the body is not valid {coding}: {error}") from error
            room -= len(part)
            if room < 0:
                raise RequestTooLarge(f"the body decodes to more than the {limit} bytes allowed")
            parts.append(part)
            body = body[len(block) - len(stream.unused_data) :]
        if not stream.eof:
            raise InvalidRequest(f"the {coding} body ends too early; send it whole")
        if body and coding == "deflate":
            raise InvalidRequest(f"the {coding} body has bytes after its end")
    raise InvalidRequest(f"the {coding} body has more than the {_MEMBERS} members allowed")


def _window(body: memoryview, coding: str) -> int:
    """Some clients call a raw deflate stream "deflate"; zlib's header has a checksum."""
    raw = len(body) < 2 or (body[0] & 15) != 8 or (body[0] << 8 | body[1]) % 31
    return -15 if coding == "deflate" and raw else _WINDOWS[coding]


def answer_coding(accepted: str | None) -> str | None:
    """Choose the coding of an answer from Accept-Encoding.

    A client that asks for exactly one coding wants it; one that lists everything it can read
    (as most HTTP libraries do) gets the bytes as they are, since floats hardly shrink.
    """
    wanted = (accepted or "").strip().lower()
    return wanted if wanted in ("gzip", "deflate") else None


def encoded(body: bytes, coding: str) -> bytes:
    """Compress an answer as gzip or deflate."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[coding])
    return stream.compress(body) + stream.flush()

"""What is said to a client that begins with HTTP/2, in its own frames: that HTTP/1.1 is wanted."""

from __future__ import annotations

from typing import Any

# Source: RFC 9113, 3.4, 4.1, 6.5, 6.8 and 7.
_PREFACE = "PRI * HTTP/2"
_SETTINGS, _GOAWAY = 4, 7
_HTTP_1_1_REQUIRED = 13


def spoken(error: Any) -> bool:
    """Tell whether what could not be read began as HTTP/2 does."""
    return str(getattr(error, "req", "")).startswith(_PREFACE)


def refusal(text: str) -> bytes:
    """Write the frames that end such a connection; clients show the text, or try HTTP/1.1."""
    reason = bytes(4) + _HTTP_1_1_REQUIRED.to_bytes(4) + text.encode()
    return _frame(_SETTINGS, b"") + _frame(_GOAWAY, reason)


def _frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, 0)) + bytes(4) + payload

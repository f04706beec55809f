"""What people send for a JPEG or a PNG, and what to do then."""

from __future__ import annotations

import re

_CONVERT = "convert it to JPEG or PNG"
# Beginnings of files, and what they are.
_KINDS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(beginning, re.DOTALL), what)
    for beginning, what in (
        (rb"\Z", "it is empty"),
        (rb"GIF8", f"it is a GIF: {_CONVERT}"),
        (rb"RIFF....WEBP", f"it is a WebP: {_CONVERT}"),
        (rb"....ftyp(hei|hev|mif1|msf1)", f"it is a HEIC, as phones take: {_CONVERT}"),
        (rb"....ftypavi", f"it is an AVIF: {_CONVERT}"),
        (rb"....ftyp|\x1aE\xdf\xa3", "it is a video: send single pictures"),
        (rb"\xff\x0a|....JXL ", f"it is a JPEG XL: {_CONVERT}"),
        (rb"....jP  ", f"it is a JPEG 2000: {_CONVERT}"),
        (rb"BM", f"it looks like a BMP: {_CONVERT}"),
        (rb"II\*\0|MM\0\*", f"it is a TIFF or a camera's raw file: {_CONVERT}"),
        (rb"%PDF", f"it is a PDF: {_CONVERT}"),
        (rb"\s*<", "it is a drawing (SVG) or a page: send pixels"),
        (rb"data:|/9j/|iVBORw0", "it is text in base64: send the file's own bytes"),
        (rb"\s*[\[{]", "it looks like JSON: say so in Content-Type, or send the file's bytes"),
    )
)


def looks_like(file: bytes) -> str:
    """Say what a file that is no picture looks like; empty where nobody knows."""
    found = next((what for beginning, what in _KINDS if beginning.match(file[:64])), None)
    return f"; {found}" if found else ""

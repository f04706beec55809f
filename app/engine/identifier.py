"""How a .tflite file begins, and what people take for one."""

from __future__ import annotations

from app.errors import InvalidModel

IDENTIFIER = b"TFL3"
# What a file may begin with instead, and what to do then.
_OTHERS: dict[bytes, str] = {
    b"PK\3\4": "a zip archive, as .task bundles are: unpack it and take the .tflite out",
    b"\x1f\x8b": "compressed by gzip: unpack it",
    b"\x89HDF": "a Keras .h5 file: convert it with tf.lite.TFLiteConverter",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file that it stands for",
    b"--": "a form: send the file's bytes alone, like curl --data-binary @model.tflite",
    b"<": "a web page: its address is not that of the file",
    b"{": "JSON: send the file's bytes",
}


def check(blob: bytes) -> None:
    """Refuse what is no TFLite model by its beginning.

    Raises: InvalidModel.
    """
    if len(blob) >= 16 and blob[4:8] == IDENTIFIER:
        return
    start = blob[:32].lstrip()
    looks = next((what for magic, what in _OTHERS.items() if start.startswith(magic)), None)
    hint = f"; it looks like {looks}" if looks else ""
    raise InvalidModel(f"it is not a TFLite model: bytes 4 to 8 are not 'TFL3'{hint}")

"""Photographs of unusual kinds and sizes become tensors, or say why not."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app import images
from app.errors import InvalidInput, InvalidRequest, Overloaded, RequestTooLarge
from app.pixels import PixelBudget
from app.repository.manifest import Preprocessing
from app.tensors import TensorSpec
from tests.service.live import ROOT

PLAIN = Preprocessing(scale=(1.0,))


def png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, options.pop("format", "PNG"), **options)
    return file.getvalue()


def test_a_picture_beyond_the_limit_is_refused_by_its_header() -> None:
    spec = TensorSpec("x", (1, 8, 8, 1), "float32")
    huge = png(Image.new("1", (12000, 12000)))
    with pytest.raises(RequestTooLarge, match="MAX_IMAGE_MEGAPIXELS"):
        images.tensor([huge], spec, PLAIN, 64)
    assert images.tensor([huge], spec, PLAIN, 200).shape == (1, 8, 8, 1)


def test_a_turned_photograph_is_put_upright() -> None:
    pixels = np.zeros((4, 8, 3), "u1")
    pixels[:, :4] = 255
    turned = Image.fromarray(pixels)
    exif = turned.getexif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees clockwise
    file = png(turned, format="JPEG", exif=exif, quality=100)
    spec = TensorSpec("x", (1, 8, 4, 3), "float32")
    found = images.tensor([file], spec, PLAIN, 64)
    assert found[0, :4].mean() > 250
    assert found[0, 4:].mean() < 5


def test_other_tags_of_a_photograph_may_have_any_type() -> None:
    """A width, a maker and a unit of types that nobody would write again."""
    pixels = np.zeros((4, 8, 3), "u1")
    pixels[:, :4] = 255
    turned, number = struct.pack("<HHII", 0x112, 3, 1, 6), struct.pack("<f", 1.5)
    for tag, kind, value in (
        (0x100, 11, number), (0x10F, 11, number), (0x128, 8, b"\xff\xff\0\0"),
    ):  # fmt: skip
        other = struct.pack("<HHI", tag, kind, 1) + value
        exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + turned + other + bytes(4)
        file = png(Image.fromarray(pixels), format="JPEG", exif=exif, quality=100)
        found = images.tensor([file], TensorSpec("x", (1, 8, 4, 3), "float32"), PLAIN, 64)
        assert found[0, :4].mean() > 250


def test_channels_first_and_integers() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 5, 3), dtype="u1")
    file = png(Image.fromarray(pixels))
    first = images.tensor([file], TensorSpec("x", (1, 3, 6, 5), "float32"), PLAIN, 64)
    np.testing.assert_array_equal(first[0].transpose(1, 2, 0), pixels)
    raw = images.tensor([file], TensorSpec("x", (1, 6, 5, 3), "uint8"), PLAIN, 64)
    np.testing.assert_array_equal(raw[0], pixels)


def test_sixteen_bits_are_read_as_their_upper_eight() -> None:
    wide = np.linspace(0, 65535, 64, dtype="u2").reshape(8, 8)
    for channels in (1, 3):
        spec = TensorSpec("x", (1, 8, 8, channels), "float32")
        how = Preprocessing(scale=(1.0,), colour="grey" if channels == 1 else "rgb")
        found = images.tensor([png(Image.fromarray(wide))], spec, how, 64)
        for channel in range(channels):
            np.testing.assert_array_equal(found[0, ..., channel], wide >> 8)


def test_no_colour_is_changed_by_what_shows_through() -> None:
    pixels = np.repeat(np.arange(0, 256, 4, dtype="u1").reshape(8, 8, 1), 3, axis=2)
    plain = Image.fromarray(pixels)
    clear = plain.copy()
    clear.putalpha(7)
    spec = TensorSpec("x", (1, 8, 8, 3), "float32")
    palette = plain.quantize(64)
    for file in (png(clear), png(palette), png(palette, transparency=bytes(range(64)))):
        np.testing.assert_array_equal(images.tensor([file], spec, PLAIN, 64)[0], pixels)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("size", [(1, 65535), (65535, 1)])
def test_a_picture_may_be_narrow_but_not_without_end(size: tuple[int, int], fit: str) -> None:
    spec, how = TensorSpec("x", (1, 8, 8, 1), "float32"), Preprocessing(scale=(1.0,), fit=fit)
    assert images.tensor([png(Image.new("L", size, 9))], spec, how, 64).shape == (1, 8, 8, 1)
    longer = tuple(side + (side > 1) for side in size)
    with pytest.raises(RequestTooLarge, match="65535 are allowed on a side"):
        images.tensor([png(Image.new("1", longer))], spec, how, 64)


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (png(Image.new("L", (2, 2)), format="GIF"), "a GIF: convert it"),
        (png(Image.new("L", (2, 2)), format="WEBP"), "a WebP: convert it"),
        (png(Image.new("L", (2, 2)), format="BMP"), "a BMP: convert it"),
        (png(Image.new("L", (2, 2)), format="TIFF"), "a TIFF"),
        (b"\0\0\0\x24ftypheic" + bytes(24), "a HEIC"),
        (b"\0\0\0\x1cftypavif" + bytes(24), "an AVIF"),
        (b"iVBORw0KGgoAAAANSUhEUg", "base64: send the file's own bytes"),
        (b'{"image": 1}', "JSON"),
        (b"", "it is empty"),
        (b"\x89PN", ""),
    ],
)
def test_what_is_no_picture_is_called_what_it_looks_like(file: bytes, what: str) -> None:
    spec = TensorSpec("x", (1, 8, 8, 1), "float32")
    with pytest.raises(InvalidRequest) as caught:
        images.tensor([file], spec, PLAIN, 64)
    assert what in str(caught.value)


def test_pictures_together_hold_no_more_pixels_than_are_allowed() -> None:
    budget, lock, held = PixelBudget(10), threading.Lock(), Counter[str]()

    def decode(pixels: int) -> None:
        with budget.hold(pixels, time.monotonic() + 60):
            with lock:
                held["now"] += pixels
                held["most"] = max(held["most"], held["now"])
            time.sleep(0.001)
            with lock:
                held["now"] -= pixels
                held["done"] += 1

    sizes = [1, 4, 9, 10, 3, 3, 6, 2] * 4
    threads = [threading.Thread(target=decode, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (held["done"], held["now"]) == (len(sizes), 0)
    assert held["most"] <= 10


def test_who_finds_no_room_for_a_picture_in_time_is_told_so() -> None:
    budget = PixelBudget(10)
    with budget.hold(99, time.monotonic() + 60):  # alone it may be larger
        for seconds in (0.01, 0.01, -1):
            with pytest.raises(Overloaded), budget.hold(1, time.monotonic() + seconds):
                pass
    with budget.hold(10, time.monotonic() + 60):
        pass


@pytest.mark.parametrize("part", ["mean", "scale"])
def test_means_that_are_not_those_of_the_channels_are_refused(part: str) -> None:
    spec, file = TensorSpec("x", (1, 8, 8, 3), "float32"), png(Image.new("RGB", (8, 8)))
    with pytest.raises(InvalidInput, match=f"2 numbers as preprocessing.{part}"):
        images.tensor([file], spec, Preprocessing(**{part: (1.0, 2.0)}), 64)


def test_threads_keep_no_memory_of_large_pictures(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png(Image.new("1", (3000, 3000))))  # 36 MB as colours
    code = """
import sys, threading
from pathlib import Path
from app.worker import keep_memory
keep_memory()
from app import images
from app.repository.manifest import Preprocessing
from app.tensors import TensorSpec
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
spec, file = TensorSpec("x", (1, 8, 8, 3), "float32"), Path(sys.argv[1]).read_bytes()
before, end = resident(), threading.Event()
for _ in range(16):
    done = threading.Event()
    def decode():
        images.tensor([file], spec, Preprocessing(), 64)
        done.set()
        end.wait()  # a thread that ends would give its heap back
    threading.Thread(target=decode, daemon=True).start()
    done.wait()
print(resident() - before)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "large.png")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=120)
    assert int(done.stdout) < 250e6

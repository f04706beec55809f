"""Photographs of unusual kinds and sizes become tensors, or say why not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app import images
from app.errors import RequestTooLarge
from app.repository.manifest import Preprocessing
from app.tensors import TensorSpec

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


def test_channels_first_and_integers() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 5, 3), dtype="u1")
    file = png(Image.fromarray(pixels))
    first = images.tensor([file], TensorSpec("x", (1, 3, 6, 5), "float32"), PLAIN, 64)
    np.testing.assert_array_equal(first[0].transpose(1, 2, 0), pixels)
    raw = images.tensor([file], TensorSpec("x", (1, 6, 5, 3), "uint8"), PLAIN, 64)
    np.testing.assert_array_equal(raw[0], pixels)

"""What the models of the corpus were made for: a photograph, or sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from skimage import data

from tests.engine import oracle
from tests.engine.corpus import CorpusModel

RATE = 16_000


def real_inputs(model: CorpusModel, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[str],
                ) -> list[oracle.Array]:
    """A photograph for an input that is an image, sound for a long row of numbers, else noise."""
    rng = np.random.default_rng(5)
    return [_one(shape, np.dtype(dtype), rng)
            for shape, dtype in zip(model.shapes or shapes, dtypes, strict=True)]


def _one(shape: tuple[int, ...], dtype: np.dtype, rng: np.random.Generator) -> oracle.Array:
    if len(shape) == 4 and shape[3] == 3:
        return photograph(shape, dtype)
    if dtype.kind == "f" and max(shape, default=0) > 1000:
        return sound(shape).astype(dtype)
    return oracle.random_array(rng, shape, dtype)


def photograph(shape: tuple[int, ...], dtype: np.dtype) -> oracle.Array:
    """A face, in whatever size: bytes for integers, 0 to 1 for floats."""
    face = Image.fromarray(data.astronaut()).crop((110, 0, 340, 230)).resize(
        (shape[2], shape[1]), Image.Resampling.BILINEAR)
    pixels = np.broadcast_to(np.asarray(face), shape)
    if dtype == np.int8:
        return (pixels.astype("i2") - 128).astype("i1")
    return pixels.copy() if dtype == np.uint8 else (pixels / 255).astype(dtype)


def sound(shape: tuple[int, ...]) -> oracle.Array:
    """A rising whistle over noise."""
    count = int(np.prod(shape))
    seconds = np.arange(count) / RATE
    whistle = np.sin(2 * np.pi * (1000 + 700 * seconds) * seconds)
    noise = np.random.default_rng(6).normal(0, 0.02, count)
    return (0.4 * whistle + noise).reshape(shape)

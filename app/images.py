"""Photographs to tensors: decode, turn upright, resize, normalise."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from app.errors import InvalidInput, InvalidRequest, RequestTooLarge
from app.picture_kinds import looks_like
from app.repository.manifest import Preprocessing
from app.tensors import Array, TensorSpec

# Held to MAX_IMAGE_MEGAPIXELS instead, as soon as the header is read.
Image.MAX_IMAGE_PIXELS = None
# Pillow's pieces of 16 MB came from the heap of the thread that decoded, and stayed there: 600 MB
# in each of 16 threads. Larger ones are mapped, and go back at once. Units: bytes.
Image.core.set_block_size(1 << 26)  # type: ignore[attr-defined]  # documented, not typed
FORMATS = ("JPEG", "PNG")
# A JPEG's own bound. Each row costs memory, too: a narrow PNG of 60 million rows took 2 GB.
LONGEST_SIDE = 65535
# What Pillow raises for files that are not what they say.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, struct.error)
# Source: Exif 2.32, tag 0x0112.
_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
MODES = {("rgb", 3): "RGB", ("bgr", 3): "RGB", ("rgb", 1): "L", ("grey", 1): "L", ("bgr", 1): "L"}


# Held while so many pixels are decoded; may wait, and may raise.
Turn = Callable[[int], AbstractContextManager[None]]


def tensor(
    files: Sequence[bytes],
    spec: TensorSpec,
    how: Preprocessing,
    limit: float,
    turn: Turn = lambda pixels: nullcontext(),
) -> Array:
    """Make one batch of the images.

    Shapes: [images, H, W, C] or [images, C, H, W], as the spec has it.
    Units:  limit in millions of pixels; pixels are 0 to 255 before mean and scale.
    Raises: InvalidInput if the model takes no image; InvalidRequest, RequestTooLarge; what turn
            raises.
    """
    height, width, channels, first = _layout(spec)
    mode = MODES.get((how.colour, channels))
    if mode is None:
        raise InvalidInput(
            f"input {spec.name!r} has {channels} channels, and model.yaml says {how.colour}; "
            "send its numbers as JSON instead"
        )
    for name, numbers in (("mean", how.mean), ("scale", how.scale)):
        if len(numbers) not in (1, channels):
            raise InvalidInput(
                f"model.yaml has {len(numbers)} numbers as preprocessing.{name}; the input "
                f"{spec.name!r} has {channels} channels: one for each, or one for all"
            )
    size = width, height
    pixels = np.stack([_pixels(file, mode, size, how.fit, limit, turn) for file in files])
    if how.colour == "bgr" and channels == 3:
        pixels = pixels[..., ::-1]
    values = _values(pixels, spec, how)
    return np.ascontiguousarray(np.moveaxis(values, -1, 1) if first else values)


def image_input(specs: Sequence[TensorSpec]) -> TensorSpec:
    """Find the input that takes the image.

    Raises: InvalidInput if that is not plain.
    """
    if len(specs) != 1 or len(specs[0].shape) != 4:
        names = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in specs)
        raise InvalidInput(f"this model takes no single image; its inputs are {names}")
    return specs[0]


def _layout(spec: TensorSpec) -> tuple[int, int, int, bool]:
    if len(spec.shape) == 4:
        _, a, b, c = spec.shape
        if c in (1, 3) and min(a, b) > 0:
            return a, b, c, False
        if a in (1, 3) and min(b, c) > 0:
            return b, c, a, True
    raise InvalidInput(
        f"input {spec.name!r} of shape {list(spec.shape)} takes no image; send its numbers as JSON"
    )


def _pixels(
    file: bytes, mode: str, size: tuple[int, int], fit: str, limit: float, turn: Turn
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        image: Image.Image = Image.open(io.BytesIO(file), formats=FORMATS)
        _check_size(image, limit)
        with turn(image.width * image.height):
            array = np.asarray(_fitted(_upright(image, mode), size, fit), dtype=np.uint8)
    except UnidentifiedImageError as error:
        raise InvalidRequest(f"the image is neither a JPEG nor a PNG{looks_like(file)}") from error
    except _DAMAGE as error:
        raise InvalidRequest(f"the image is damaged: {error}") from error
    return array[..., np.newaxis] if array.ndim == 2 else array


def _check_size(image: Image.Image, limit: float) -> None:
    text = f"the image has {image.width} x {image.height} pixels; "
    if image.width * image.height > limit * 1e6:
        raise RequestTooLarge(f"{text}{limit:g} million are allowed (MAX_IMAGE_MEGAPIXELS)")
    if max(image.size) > LONGEST_SIDE:
        raise RequestTooLarge(f"{text}{LONGEST_SIDE} are allowed on a side")


def _upright(image: Image.Image, mode: str) -> Image.Image:
    """Turn as the camera was held, and give three colours or grey of 8 bits.

    Of 16 bits the upper 8 count, as Pillow has it for colours; grey it would cut off at 255.
    """
    # A PNG may say it behind its pixels.
    image.load()
    turn = _TURNS.get(_orientation(image))
    upright = image if turn is None else image.transpose(turn)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    elif "transparency" in upright.info:
        upright = upright.convert("RGBA")
    return upright if upright.mode == mode else upright.convert(mode)


def _orientation(image: Image.Image) -> object:
    """Read how the camera was held; what a broken header says of it is nothing.

    Pillow's exif_transpose writes the rest of the header anew, and fails at what it cannot write.
    """
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        return None


def _fitted(image: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    if fit == "pad":
        return ImageOps.pad(image, size, Image.Resampling.BILINEAR)
    if fit == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return image.resize(size, Image.Resampling.BILINEAR)


def _values(pixels: Array, spec: TensorSpec, how: Preprocessing) -> Array:
    mean = np.array(how.mean, np.float32)
    scale = np.array(how.scale, np.float32)
    kind = np.dtype(spec.dtype)
    if kind.kind not in "iuf":
        raise InvalidInput(f"input {spec.name!r} is {spec.dtype}, which no image can be")
    if kind.kind == "f":
        floats: Array = ((pixels.astype(np.float32) - mean) * scale).astype(kind)
        return floats
    plain = how == Preprocessing(colour=how.colour, fit=how.fit)
    if plain or spec.quantization is None:
        offset = 128 if kind == np.int8 else 0
        return (pixels.astype(np.int32) - offset).astype(kind)
    real = (pixels.astype(np.float32) - mean) * scale
    quantised = np.rint(real / spec.quantization.scales[0]) + spec.quantization.zero_points[0]
    limits = np.iinfo(kind)
    clipped: Array = np.clip(quantised, limits.min, limits.max).astype(kind)
    return clipped

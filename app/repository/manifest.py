"""model.yaml: what a model is, where it comes from, and how an image becomes its input."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.errors import InvalidModel

COLOURS = ("rgb", "bgr", "grey")
FITS = ("stretch", "pad", "crop")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes a tensor: value = (pixel - mean) * scale, pixels from 0 to 255.

    Shapes: mean and scale one number, or one for each channel.
    """

    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0 / 255.0,)
    colour: str = "rgb"
    fit: str = "stretch"
    input: str | None = None


@dataclass(frozen=True, slots=True)
class Golden:
    """What a sound device answers to a known input, at some flat positions of each output.

    input: flat values of each input; one that is not named gets the ramp.
    """

    positions: dict[str, tuple[int, ...]]
    values: dict[str, tuple[float, ...]]
    tolerance: float = 1e-3
    input: dict[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a version's file comes from; source is what pull.py reads, if it is not committed."""

    sha256: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One model's description; every part may be left out."""

    title: str = ""
    description: str = ""
    licence: str = ""
    homepage: str = ""
    labels: tuple[str, ...] = ()
    backend: str = "default"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    versions: dict[str, Origin] = field(default_factory=dict)
    golden: dict[str, Golden] = field(default_factory=dict)


def read(path: Path) -> Manifest:
    """Read a model.yaml; a model without one gets the defaults.

    Raises: InvalidModel that names the file, the key and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Manifest()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{path.name} cannot be read: {error}") from error
    try:
        return parse(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InvalidModel(f"{path.name} is not YAML: {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidModel(f"{path.name}: {error}") from error


def parse(document: Any) -> Manifest:
    """Turn what YAML gave into a manifest.

    Raises: ValueError, TypeError or AttributeError with the reason.
    """
    values = _known(Manifest, document if document is not None else {}, "model.yaml")
    values["labels"] = tuple(str(label) for label in values.get("labels") or ())
    if "preprocessing" in values:
        values["preprocessing"] = _preprocessing(values["preprocessing"])
    values["versions"] = {
        str(version): Origin(**_known(Origin, origin or {}, f"versions.{version}"))
        for version, origin in (values.get("versions") or {}).items()
    }
    values["golden"] = {
        str(version): _golden(golden, f"golden.{version}")
        for version, golden in (values.get("golden") or {}).items()
    }
    return Manifest(**values)


def _preprocessing(document: Any) -> Preprocessing:
    values = _known(Preprocessing, document, "preprocessing")
    for name in ("mean", "scale"):
        if name in values:
            values[name] = _numbers(values[name], f"preprocessing.{name}")
    _one_of(values.get("colour", "rgb"), COLOURS, "preprocessing.colour")
    _one_of(values.get("fit", "stretch"), FITS, "preprocessing.fit")
    return Preprocessing(**values)


def _golden(document: Any, where: str) -> Golden:
    values = _known(Golden, document, where)
    values["positions"] = {
        str(name): tuple(int(index) for index in indices)
        for name, indices in values.get("positions", {}).items()
    }
    for part in ("values", "input"):
        values[part] = {
            str(name): _numbers(numbers, f"{where}.{part}.{name}")
            for name, numbers in values.get(part, {}).items()
        }
    if {n: len(v) for n, v in values["positions"].items()} != {
        n: len(v) for n, v in values["values"].items()
    }:
        raise ValueError(f"{where} needs as many values as positions for each output")
    return Golden(**values)


def _known(kind: type, document: Any, where: str) -> dict[str, Any]:
    allowed = [item.name for item in dataclasses.fields(kind)]
    if not isinstance(document, dict):
        raise ValueError(f"{where} must be a mapping with some of {', '.join(allowed)}")
    unknown = sorted(str(key) for key in document if key not in allowed)
    if unknown:
        raise ValueError(
            f"{where} has unknown {', '.join(unknown)}; allowed are {', '.join(allowed)}"
        )
    return dict(document)


def _numbers(value: Any, where: str) -> tuple[float, ...]:
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, int | float) for item in items):
        raise ValueError(f"{where} must be a number or a list of numbers")
    return tuple(float(item) for item in items)


def _one_of(value: Any, allowed: tuple[str, ...], where: str) -> None:
    if value not in allowed:
        raise ValueError(f"{where} is {value!r}; allowed are {', '.join(allowed)}")

"""model.yaml: what a model is, where it comes from, and how an image becomes its input."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.errors import InvalidModel, ModelMisdescribed
from app.repository import allowed
from app.repository.handwritten import document
from app.repository.names import is_name, order

BACKENDS = ("auto", "tflite", "opencl")
PRECISIONS = ("default", "fp32", "fp16-storage")
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


@dataclass(frozen=True, slots=True)
class Golden:
    """What a sound device answers to a known input, at some flat positions of each output.

    image: a picture in the model's folder, read as a posted one would be.
    input: flat values of each input; one that is named in neither way gets the ramp.
    Units: tolerance is a share of the known values' range, largest minus smallest.
    """

    positions: dict[str, tuple[int, ...]]
    values: dict[str, tuple[float, ...]]
    tolerance: float = 1e-3
    input: dict[str, tuple[float, ...]] = field(default_factory=dict)
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Batching:
    """How requests are queued and joined; 0 or None leaves it to the server.

    Units: max_batch and preferred in rows; max_queue in requests; priority 1 is the most urgent.
    """

    max_batch: int = 0
    max_delay_ms: float = 0.0
    preferred: tuple[int, ...] = ()
    max_queue: int | None = None
    max_queue_mb: float = 256.0
    priorities: int = 3
    default_priority: int = 2


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions are loaded when they are found: the newest ones, these, or all.

    latest 0 means no bound.
    """

    latest: int = 0
    specific: tuple[str, ...] = ()

    def allows(self, version: str, versions: Iterable[str]) -> bool:
        """Tell whether a version should be loaded, of these that there are."""
        if self.specific:
            return version in self.specific
        return not self.latest or version in sorted(versions, key=order)[-self.latest :]


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
    precision: str = "default"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    batching: Batching = field(default_factory=Batching)
    version_policy: VersionPolicy | None = None
    version_labels: dict[str, str] = field(default_factory=dict)
    versions: dict[str, Origin] = field(default_factory=dict)
    golden: dict[str, Golden] = field(default_factory=dict)

    def agree(self, version: str, sha256: str) -> None:
        """Hold a version's file to what is said of it.

        Raises: ModelMisdescribed.
        """
        listed = self.versions.get(version)
        if listed and listed.sha256 and listed.sha256 != sha256:
            raise ModelMisdescribed(
                f"the file has sha256 {sha256}, but model.yaml says {listed.sha256}"
            )


_POLICIES = "version_policy must be all, {latest: 2} or {specific: ['1', '3']}, one of them"
_SHA256 = re.compile("[0-9a-f]{64}")
TEXTS = ("title", "description", "licence", "homepage")


def read(path: Path) -> Manifest:
    """Read a model.yaml; a model without one gets the defaults.

    Raises: InvalidModel that names the file, the key and what is allowed.
    """
    try:
        return understood(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Manifest()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{path.name} cannot be read: {error}") from error


def understood(text: str) -> Manifest:
    """Turn the text of a model.yaml into a manifest.

    Raises: InvalidModel that names the key and what is allowed.
    """
    try:
        return parse(document(text))
    except yaml.YAMLError as error:
        raise InvalidModel(f"model.yaml is not YAML: {error}") from error
    except RecursionError as error:
        raise InvalidModel("model.yaml is nested too deeply, or refers to itself") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidModel(f"model.yaml: {error}") from error


def parse(document: Any) -> Manifest:
    """Turn what YAML gave into a manifest.

    Raises: ValueError, TypeError or AttributeError with the reason.
    """
    values = allowed.known(Manifest, document if document is not None else {}, "model.yaml")
    allowed.one_of(values.get("backend", "default"), ("default", *BACKENDS), "backend")
    allowed.one_of(values.get("precision", "default"), PRECISIONS, "precision")
    for name in TEXTS:
        values[name] = allowed.text(values.get(name), name)
    values["labels"] = allowed.labels(values.get("labels"))
    if "preprocessing" in values:
        values["preprocessing"] = _preprocessing(values["preprocessing"])
    if "batching" in values:
        values["batching"] = _batching(values["batching"])
    if "version_policy" in values:
        values["version_policy"] = _version_policy(values["version_policy"])
    values["version_labels"] = allowed.each(
        values.get("version_labels"), "version_labels", allowed.text
    )
    values["versions"] = allowed.each(values.get("versions"), "versions", _origin)
    values["golden"] = allowed.each(values.get("golden"), "golden", _golden)
    return Manifest(**values)


def _preprocessing(document: Any) -> Preprocessing:
    values = allowed.known(Preprocessing, document, "preprocessing")
    for name in ("mean", "scale"):
        if name in values:
            values[name] = allowed.numbers(values[name], f"preprocessing.{name}")
    allowed.one_of(values.get("colour", "rgb"), COLOURS, "preprocessing.colour")
    allowed.one_of(values.get("fit", "stretch"), FITS, "preprocessing.fit")
    return Preprocessing(**values)


def _batching(document: Any) -> Batching:
    values = allowed.known(Batching, document, "batching")
    preferred = values.get("preferred") or []
    values["preferred"] = tuple(preferred if isinstance(preferred, list) else [preferred])
    bounds = {"max_delay_ms": 60_000.0, "max_queue_mb": 1e6}
    for name, value in values.items():
        for number in value if isinstance(value, tuple) else (value,):
            most = bounds.get(name, 100_000)
            allowed.between(number, most, name not in bounds, f"batching.{name}")
    batching = Batching(**values)
    if not 1 <= batching.default_priority <= batching.priorities:
        raise ValueError("batching.default_priority must be from 1 to batching.priorities")
    return batching


def _version_policy(document: Any) -> VersionPolicy:
    if document == "all":
        return VersionPolicy()
    if not isinstance(document, dict) or len(document) != 1:
        raise ValueError(_POLICIES)
    values = allowed.known(VersionPolicy, document, "version_policy")
    if "latest" in values:
        allowed.between(values["latest"], 10_000, True, "version_policy.latest")
        return VersionPolicy(latest=values["latest"])
    named = values["specific"]
    if not isinstance(named, list) or not named:
        raise ValueError(_POLICIES)
    return VersionPolicy(
        specific=tuple(allowed.text(item, "version_policy.specific") for item in named)
    )


def _origin(document: Any, where: str) -> Origin:
    values = allowed.known(Origin, document or {}, where)
    for name, said in values.items():
        values[name] = allowed.text(said, f"{where}.{name}") or None
    if values.get("sha256") is not None:
        values["sha256"] = values["sha256"].lower()
        if not _SHA256.fullmatch(values["sha256"]):
            raise ValueError(f"{where}.sha256 is {values['sha256']!r:.80}; it must have 64 digits")
    return Origin(**values)


def _golden(document: Any, where: str) -> Golden:
    values = allowed.known(Golden, document, where)
    # Outputs have any scale.
    allowed.between(values.get("tolerance", 0), 1e30, False, f"{where}.tolerance")
    for part, read in (
        ("positions", allowed.positions), ("values", allowed.numbers), ("input", allowed.numbers),
    ):  # fmt: skip
        values[part] = allowed.each(values.get(part), f"{where}.{part}", read)
    image = values.get("image")
    if image is not None and (not isinstance(image, str) or not is_name(image)):
        raise ValueError(f"{where}.image is {image!r}; it must be the name of a file beside")
    if {n: len(v) for n, v in values["positions"].items()} != {
        n: len(v) for n, v in values["values"].items()
    }:
        raise ValueError(f"{where} needs as many values as positions for each output")
    return Golden(**values)

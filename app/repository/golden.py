"""Known answers: whether a loaded model computes on this device what it should.

`python -m app.repository.golden model.tflite [picture]` draws the part of a model.yaml that holds
them; a picture stands in the model's folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from app import images
from app.backends.runtimes import RUNTIMES
from app.backends.session import Session
from app.backends.tflite import TfliteOptions, TfliteSession
from app.errors import InvalidInput, InvalidRequest, ModelMisdescribed, ServingError
from app.repository.manifest import Golden, Preprocessing, read
from app.tensors import Array, TensorSpec

# The inputs of a session that may be tried.
Feed = Callable[[Session], Iterable[Mapping[str, Array]]]
_MEGAPIXELS = 64.0
# Of free dimensions, smallest first: what a model needs is known to its users only.
FREE_SIZES = (1, 16, 256, 4096, 16000)
# Whole numbers may be indices into a table of so many rows.
INDICES = (256, 16, 2, 1)


class Pictures(NamedTuple):
    """Where golden pictures are, and how they are read."""

    folder: Path
    how: Preprocessing


def ramp(spec: TensorSpec, free: int = 1) -> Array:
    """Make an input that is the same everywhere and excites every weight a little.

    Shapes: the spec's; a free dimension 0 is taken for the batch and gets 1, others get free.
    Units:  floats from 0 to 1; integers over their whole range, at most 0 to 255; strings that
            are numbers, too.
    """
    shape = shaped(spec, free)
    if spec.dtype == "bytes":
        return np.full(shape, b"1", dtype=object)
    kind = np.dtype(spec.dtype)
    steps = (np.arange(int(np.prod(shape)), dtype=np.int64) * 40503 % 65536).reshape(shape)
    if kind.kind == "b":
        return np.asarray(steps % 2 == 1)
    if kind.kind in "iu":
        low = max(np.iinfo(kind).min, -128)
        high = min(np.iinfo(kind).max, 255)
        return np.asarray(low + steps * (high - low) // 65535, kind)
    return np.asarray(steps / 65535, kind)


def inputs(
    session: Session, golden: Golden | None, pictures: Pictures | None = None
) -> dict[str, Array]:
    """Make the warm-up input of a model: the golden one where it is given, else the ramp.

    Raises: ModelMisdescribed if the picture cannot be read.
    """
    given = golden.input if golden else {}
    made = {}
    unknown = given.keys() - {spec.name for spec in session.inputs}
    if unknown:
        raise ModelMisdescribed(
            f"the golden input {min(unknown)!r} is not one of the model's: "
            f"{', '.join(spec.name for spec in session.inputs)}"
        )
    if golden is not None and golden.image is not None and pictures is not None:
        return _picture(session, pictures, golden.image)
    for spec in session.inputs:
        made[spec.name] = ramp(spec)
        if spec.name in given:
            made[spec.name] = _given(given[spec.name], spec.name, made[spec.name])
    return made


def _given(values: Sequence[float], name: str, like: Array) -> Array:
    if len(values) != like.size:
        raise ModelMisdescribed(
            f"the golden input {name!r} has {len(values)} values; {like.size} are needed"
        )
    kind = like.dtype.kind
    known = np.iinfo(like.dtype.name) if kind in "iu" else None
    if kind not in "biuf" or (known and not known.min <= min(values) <= max(values) <= known.max):
        raise ModelMisdescribed(f"the golden input {name!r} has values that no {like.dtype} has")
    return np.array(values, like.dtype).reshape(like.shape)


def shaped(spec: TensorSpec, free: int) -> tuple[int, ...]:
    """Give a free dimension 0, taken for the batch, the size 1, and the others the one given."""
    sizes = tuple(free if size < 0 else size for size in spec.shape)
    return (1, *sizes[1:]) if len(sizes) > 1 and spec.shape[0] < 0 else sizes


def tries(
    session: Session, golden: Golden | None, pictures: Pictures | None = None
) -> Iterator[Mapping[str, Array]]:
    """Give the golden input; without one, ramps, each plainer or larger than the one before.

    A ramp knows neither how large a picture must be nor how many words a model has.
    Raises: ModelMisdescribed if the golden picture cannot be read.
    """
    if golden is not None:
        yield inputs(session, golden, pictures)
        return
    kinds = {spec.name: np.dtype(spec.dtype).kind for spec in session.inputs
             if spec.dtype != "bytes"}
    free = any(size < 0 for spec in session.inputs for size in spec.shape[1:])
    for size in FREE_SIZES if free else FREE_SIZES[:1]:
        fed = {spec.name: ramp(spec, size) for spec in session.inputs}
        yield fed
        for many in INDICES if set(kinds.values()) & {"i", "u"} else ():
            # Of a scalar a remainder is none, but a number of another type.
            yield {name: np.asarray(np.remainder(array, many), array.dtype)
                   if kinds.get(name) in ("i", "u") else array for name, array in fed.items()}


def answered(
    session: Session, tried: Iterable[Mapping[str, Array]]
) -> tuple[Mapping[str, Array], dict[str, Array]]:
    """Run on the first input that the model takes; gives it and the outputs.

    Raises: InvalidInput if it takes none.
    """
    refusal = InvalidInput("there is no input to try")
    for fed in tried:
        try:
            return fed, session.run(fed)
        except InvalidInput as error:
            refusal = error
    raise refusal


def _picture(session: Session, pictures: Pictures, image: str) -> dict[str, Array]:
    how = pictures.how
    try:
        spec = images.image_input(session.inputs)
        file = (pictures.folder / image).read_bytes()
        return {spec.name: images.tensor([file], spec, how, _MEGAPIXELS)}
    except (OSError, InvalidRequest) as error:
        raise ModelMisdescribed(f"the golden picture {image} cannot be used: {error}") from error


def check(outputs: Mapping[str, Array], golden: Golden, least: float = 0.0) -> None:
    """Compare outputs with the known answer.

    Units: least is the smallest tolerance, as a share of the known values' range.
    Raises: ModelMisdescribed that says which output differs, and by how much.
    """
    for name, positions in golden.positions.items():
        if name not in outputs:
            raise ModelMisdescribed(
                f"the golden output {name!r} is not one of the model's: {', '.join(outputs)}"
            )
        if outputs[name].dtype.kind not in "biuf":
            raise ModelMisdescribed(f"the output {name!r} is of no numbers; take it out of golden")
        if max(positions) >= outputs[name].size:
            raise ModelMisdescribed(
                f"the golden output {name!r} has no position {max(positions)}; the last is "
                f"{outputs[name].size - 1}"
            )
        found = outputs[name].reshape(-1)[list(positions)].astype(np.float64)
        known = np.array(golden.values[name])
        wrong = float(np.max(np.abs(found - known)))
        allowed = max(golden.tolerance, least) * max(float(np.ptp(known)), 1e-6)
        if not wrong <= allowed:
            raise ModelMisdescribed(
                f"output {name!r} is {wrong:g} off its golden answer; {allowed:g} is allowed"
            )


def draw(path: Path, image: str | None = None, count: int = 16) -> dict[str, Any]:
    """Compute on the CPU what a model answers, at positions spread over each output.

    path is models/<name>/<version>/model.tflite; without an image the ramp is its input.

    Units: the tolerance is a thousandth of an output's range, or 3 steps of the narrowest integers.
    """
    session = TfliteSession(path.read_bytes(), TfliteOptions(next(iter(RUNTIMES)), "golden"))
    drawn: dict[str, Any] = {"positions": {}, "values": {}, "tolerance": 1e-3}
    if image:
        drawn["image"] = image
    known = Golden({}, {}, image=image)
    folder = path.parents[1]
    how = read(folder / "model.yaml").preprocessing
    fed = inputs(session, known, Pictures(folder, how))
    for name, array in session.run(fed).items():
        flat = array.reshape(-1)
        if not flat.size or flat.dtype.kind not in "biuf":
            continue
        positions = np.unique(np.linspace(0, flat.size - 1, count).astype(int))
        drawn["positions"][name] = positions.tolist()
        drawn["values"][name] = [round(float(value), 6) for value in flat[positions]]
        if flat.dtype.kind in "iu":
            steps = 3 / max(float(np.ptp(flat[positions].astype(np.int64))), 1)
            drawn["tolerance"] = max(drawn["tolerance"], round(steps, 6))
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Print the golden part of a model's description; 1 with the reason if there is none."""
    parser = argparse.ArgumentParser(
        "python -m app.repository.golden",
        description="Draw the golden part of a model.yaml: what the CPU answers.",
    )
    parser.add_argument("model", type=Path, help="models/NAME/VERSION/model.tflite")
    parser.add_argument(
        "picture", nargs="?", help="the input, in models/NAME; without one it is a fixed ramp"
    )
    given = parser.parse_args(argv)
    model = given.model.resolve()
    picture = _beside(given.picture, model.parents[1]) if given.picture else None
    try:
        part = {"golden": {model.parent.name: draw(model, picture)}}
    except (OSError, ServingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(yaml.safe_dump(part, sort_keys=False, width=96, default_flow_style=None), end="")
    return 0


def _beside(picture: str, folder: Path) -> str:
    """Take a path for the name of a picture that it leads to."""
    there = Path(picture).resolve()
    return there.name if there.parent == folder else picture


if __name__ == "__main__":
    sys.exit(main())

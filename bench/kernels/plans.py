"""Plans of the corpus for the simulated card, and the programs that they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

import app.engine.ops  # noqa: F401  (fills the tables)
from app.engine.choices import Choices
from app.engine.ir import Launch
from app.engine.opencl.texts import assemble
from app.engine.passes.specialise import specialise
from app.engine.planner import Plan, plan
from app.engine.profile import RX_580, DeviceProfile
from app.engine.reader import read
from app.engine.runtime import graphs_of
from app.engine.trials import default_shapes
from app.errors import InvalidInput, UnsupportedOp
from tests.engine.builder import Spec, single_op
from tests.engine.corpus import CORPUS, CorpusModel, nets


@dataclass(frozen=True, slots=True)
class Program:
    """One kernel file with its defines, and a kernel in it."""

    source: str
    kernel: str
    defines: tuple[tuple[str, str | int], ...]

    @property
    def text(self) -> str:
        """What the compiler gets."""
        return assemble(self.source, dict(self.defines))

    @property
    def label(self) -> str:
        """Short, for people: the epilogue and other text only by its length."""
        shown = [f"{k}={v}" for k, v in self.defines if len(str(v)) < 10]
        return f"{self.kernel}({' '.join(shown)})"


def plan_blob(blob: bytes, shapes: tuple[tuple[int, ...], ...] = (),
              profile: DeviceProfile = RX_580) -> Plan:
    """Plan a model's main graph; open dimensions become 1 without shapes.

    Raises: UnsupportedOp, InvalidInput.
    """
    graph = graphs_of(read(blob))[0]
    # As a server plans it: the variables of a request stay where kernels put them.
    return plan(specialise(graph, shapes or default_shapes(graph)), profile, whole=True)


def plan_all(names: Iterable[str] | None = None,
             profile: DeviceProfile = RX_580) -> tuple[dict[str, Plan], dict[str, str]]:
    """Plan the corpus and the small nets; the second mapping tells why some have no plan."""
    plans: dict[str, Plan] = {}
    refused: dict[str, str] = {}
    for name, (blob, shapes) in blobs(names).items():
        try:
            plans[name] = plan_blob(blob, shapes, profile)
        except (UnsupportedOp, InvalidInput) as error:
            refused[name] = str(error)
    if names is None:
        plans.update(plan_tiles(profile))
    return plans, refused


def plan_tiles(profile: DeviceProfile) -> dict[str, Plan]:
    """ResNet's 3x3 convolutions directly and by Winograd's tiles, which no corpus model has."""
    options = {"padding": "SAME", "strideH": 1, "strideW": 1, "fusedActivationFunction": "RELU"}
    found = {}
    for extent, channels in ((56, 64), (28, 128), (14, 256)):
        shape = (1, extent, extent, channels)
        blob = single_op("CONV_2D", [Spec(shape), np.zeros((channels, 3, 3, channels), "f4"),
                                     np.zeros(channels, "f4")], [Spec(shape)], options)
        for tile in (0, 2, 4):
            chosen = Choices({f"3x3 1x{extent}x{extent}x{channels}x{channels}": (tile,)})
            found[f"conv3x3_{extent}x{channels}_tile{tile}"] = plan_blob(
                blob, profile=replace(profile, choices=chosen))
    return found


def blobs(names: Iterable[str] | None = None) -> Mapping[str, tuple[bytes, tuple[
        tuple[int, ...], ...]]]:
    """The files and input shapes of the named models, or of all."""
    there: dict[str, CorpusModel | None] = {**CORPUS, **{p.stem: None for p in nets()}}
    paths = {p.stem: p for p in nets()}
    found = {}
    for name in there if names is None else names:
        model = there[name]
        found[name] = (paths[name].read_bytes(), ()) if model is None else (
            model.blob(), model.shapes)
    return found


def launches(planned: Plan) -> list[Launch]:
    """What runs on the card."""
    return [s for s in planned.steps if isinstance(s, Launch)]


def programs(plans: Iterable[Plan]) -> dict[Program, int]:
    """Every program of the plans, with its number of launches."""
    count: dict[Program, int] = {}
    for planned in plans:
        for launch in launches(planned):
            key = Program(launch.source, launch.kernel, tuple(sorted(launch.defines.items())))
            count[key] = count.get(key, 0) + 1
    return count

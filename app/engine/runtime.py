"""The engine's front door: a device, opened once per worker, and graphs compiled for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyopencl as cl

import app.engine.ops  # noqa: F401  (fills the tables)
from app.engine.ahead import Ahead
from app.engine.choices import load, save
from app.engine.ir import Graph, Model
from app.engine.opencl.device import Device
from app.engine.opencl.programs import Programs
from app.engine.opencl.trial import has_dots
from app.engine.passes.control import settle
from app.engine.tuned import choices_file
from app.engine.turns import Turns

Shape = tuple[int, ...]


class Runtime:
    """One context and one in-order queue on one device; made after fork, closed once."""

    def __init__(self, device: Device, cache: Path | None = None) -> None:
        self.choices_path = None if cache is None else choices_file(cache, device)
        known = device.profile.choices if self.choices_path is None else load(self.choices_path)
        self.context = cl.Context([device.handle])
        self.queue = cl.CommandQueue(self.context)
        self.programs = Programs(self.context, cache)
        dots = device.profile.dots and has_dots(self.programs, self.queue)
        self.device = replace(device, profile=replace(device.profile, choices=known, dots=dots))
        self.turn = Turns()
        self.ahead = Ahead()

    def keep_choices(self) -> None:
        """Write what was tuned, for the other workers and the next start."""
        if self.choices_path is not None:
            save(self.choices_path, self.device.profile.choices)

    def close(self) -> None:
        """Wait for what is enqueued."""
        with self.turn():
            self.queue.finish()


def graphs_of(model: Model) -> list[Graph]:
    """The model's graphs after all passes that do not depend on shapes."""
    return settle(model.graphs)

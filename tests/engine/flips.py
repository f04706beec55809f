"""Plans damaged copies of a model: `python -m tests.engine.flips MODEL FIRST COUNT`.

Prints a line before and after each, so that whoever started this sees which one it died of; ends
with a traceback where one takes too long.
"""

from __future__ import annotations

import faulthandler
import sys
import traceback
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

import app.engine.ops  # noqa: F401  (fills the tables)
from app.engine.known import refuse_unknown
from app.engine.passes.specialise import specialise
from app.engine.planner import plan
from app.engine.profile import RX_580
from app.engine.reader import read
from app.engine.runtime import graphs_of
from app.engine.trials import trial_shapes
from app.errors import InvalidInput, ServingError

# Constants from here on are no structure: what they hold is not looked at.
LARGE = 64
# A copy takes some hundredths of a second; the rest is for a machine that does much else.
PATIENCE_SECONDS = 60.0
NUMBERS = (0, 1, 3, 7, 1000, 1 << 16, 2**31 - 1, -1, -(2**31))


def structure(blob: bytes) -> np.ndarray:
    """The positions of all bytes but those of large constants."""
    kept = np.ones(len(blob), bool)
    base = np.frombuffer(blob, np.uint8).__array_interface__["data"][0]
    root = schema.Model.GetRootAs(blob, 0)
    for buffer in map(root.Buffers, range(root.BuffersLength())):
        if buffer.DataLength() > LARGE:
            begin = buffer.DataAsNumpy().__array_interface__["data"][0] - base
            kept[begin:begin + buffer.DataLength()] = False
    return np.flatnonzero(kept)


def damaged(blob: bytes, places: np.ndarray, seed: int) -> bytes:
    """The file with one to four changes: bits, bytes, or whole numbers."""
    rng = np.random.default_rng(seed)
    made = bytearray(blob)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = int(rng.choice(places))
        match rng.integers(4):
            case 0:
                made[at] ^= 1 << int(rng.integers(8))
            case 1:
                made[at] = int(rng.integers(256))
            case 2:
                made[at] = (made[at] + int(rng.choice([1, 255]))) % 256
            case _:
                at -= at % 4
                number = int(rng.choice(NUMBERS)) % 2**32
                made[at:at + 4] = number.to_bytes(4, "little")
    return bytes(made)


def planned(blob: bytes) -> str:
    """What the engine says of a file: "ok", or the name of its refusal.

    Raises: whatever is no refusal.
    """
    try:
        model = read(blob)
        refuse_unknown(model)
        graph = graphs_of(model)[0]
        for shapes in trial_shapes(graph):
            try:
                plan(specialise(graph, shapes), RX_580)
                return "ok"
            except InvalidInput as error:
                refusal = type(error).__name__
    except ServingError as error:
        refusal = type(error).__name__
    return refusal


def main(path: str, first: str, count: str) -> None:
    """Try so many copies of a model."""
    blob = Path(path).read_bytes()
    places = structure(blob)
    for seed in range(int(first), int(first) + int(count)):
        print("begin", seed, flush=True)
        faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)
        try:
            said = planned(damaged(blob, places, seed))
        except Exception:
            said = "RAISED " + " | ".join(traceback.format_exc().splitlines()[-6:])
        print("end", seed, said, flush=True)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The tuner times candidates, keeps what is fastest, and changes no answer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.engine import tuner
from app.engine.choices import Choices, alone, load, save
from app.engine.loaded import LoadedModel
from app.engine.opencl.device import choose
from app.engine.ops.tiles import Tile, dense_tile
from app.engine.profile import RX_580
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.engine.tuner import tune
from tests.engine import oracle
from tests.engine.builder import Spec, single_op
from tests.tools import require_tool


def _conv() -> bytes:
    weights = np.random.default_rng(0).uniform(-1, 1, (40, 3, 3, 12)).astype("f4")
    return single_op("CONV_2D", [Spec((1, 14, 14, 12)), weights, np.zeros(40, "f4")],
                     [Spec((1, 14, 14, 40))], {"padding": "SAME", "strideH": 1, "strideW": 1})


def test_choices_outlive_the_process_and_answers_stay(tmp_path: Path) -> None:
    require_tool("pocl")
    device = choose("Portable Computing Language")
    assert device is not None
    blob = _conv()
    model = LoadedModel(Runtime(device, tmp_path), read(blob))
    seen: list[tuple[int, int, str]] = []
    assert tune(model, seconds=60, progress=lambda *step: seen.append(step)) == 1
    assert seen[-1] == (1, 1, "done")
    assert tune(model, seconds=60) == 0
    again = Runtime(device, tmp_path)
    assert again.device.profile.choices.measured == model.runtime.device.profile.choices.measured
    inputs = oracle.random_inputs(blob)
    oracle.assert_close(model.run(inputs)[0], oracle.run(blob, inputs)[0])


def test_no_time_means_no_change(tmp_path: Path) -> None:
    require_tool("pocl")
    device = choose("Portable Computing Language")
    assert device is not None
    model = LoadedModel(Runtime(device, tmp_path), read(_conv()))
    assert tune(model, seconds=0) == 0


def test_files_of_choices_merge_and_damage_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    save(path, Choices({"a": (1, 2)}))
    save(path, Choices({"b": (3,)}))
    assert load(path).measured == {"a": (1, 2), "b": (3,)}
    path.write_text("[1, 2")
    assert load(path).measured == {}


def test_processes_that_save_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    program = ("import sys; from pathlib import Path\n"
               "from app.engine.choices import Choices, save\n"
               "for i in range(40): save(Path(sys.argv[1]), Choices({f'{sys.argv[2]} {i}': (i,)}))")
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), str(n)])
               for n in range(4)]
    assert [w.wait(60) for w in writers] == [0] * 4
    assert len(load(path).measured) == 160


def test_what_is_hardly_faster_than_the_default_is_not_taken(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_tool("pocl")
    device = choose("Portable Computing Language")
    assert device is not None
    model = LoadedModel(Runtime(device, tmp_path), read(_conv()))
    before = dict(model.prepare().plan.steps[0].defines)  # type: ignore[union-attr]
    clock = iter([1.0, 0.99, *[1.2] * 10])
    monkeypatch.setattr(tuner, "_seconds", lambda *_: next(clock))
    assert tune(model, seconds=60) == 1
    assert model.prepare().plan.steps[0].defines == before  # type: ignore[union-attr]


def test_only_one_process_tunes(tmp_path: Path) -> None:
    with alone(tmp_path / "tuned.json") as first, alone(tmp_path / "tuned.json") as second:
        assert (first, second) == (True, False)


@pytest.mark.parametrize("stored", [(1, 2, 3), (7, 7, 7)])
def test_a_choice_that_is_no_candidate_any_more_is_not_taken(stored: tuple[int, ...]) -> None:
    candidates = [Tile(1, 2, 3), Tile(4, 5, 6)]
    picked = Choices({"k": stored}).pick("k", candidates, lambda t: -t.rows)
    assert picked == (candidates[0] if stored == (1, 2, 3) else candidates[1])


@pytest.mark.parametrize(("native", "pairs"), [(16, 1), (8, 2)])
def test_tiles_fit_the_registers_of_the_core(native: int, pairs: int) -> None:
    cpu = replace(RX_580, kind="cpu", vector=16, native=native, choices=Choices())
    for pixels in (1, 5, 49, 196, 1089, 12544):
        for outputs in (16, 24, 64, 80, 96, 111, 480):
            tile = dense_tile(cpu, pixels, outputs, 64)
            registers = (tile.rows + 1) * tile.panels * (pairs if tile.lanes == 16 else 1)
            assert registers <= 32 + 4 * (pairs - 1), (pixels, outputs, tile)


def test_wide_cores_read_the_pixels_once_for_five_panels() -> None:
    cpu = replace(RX_580, kind="cpu", vector=16, native=16, choices=Choices())
    assert dense_tile(cpu, 1089, 80, 480) == Tile(5, 5, 16)

"""Damaged model files are planned or refused: never a crash, a hang or an error without a name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.corpus import CORPUS, NETS

ROOT = Path(__file__).parents[2]
SAMPLE = ("unet_int8", "lstm_float32", "gru_float32")
MORE = (*SAMPLE, "text_dynamic", "mww_okay_nabu", "face_detection_short_range",
        "bidirectional_int8", "gated_int16x8", "video_float32", "vit_int8")
FEW, MANY = 60, 500


@pytest.mark.parametrize("name", SAMPLE)
def test_some_damaged_copies(name: str) -> None:
    check(name, 0, FEW, seconds=120)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", MORE)
def test_many_damaged_copies(name: str) -> None:
    check(name, FEW, MANY, seconds=1100)


def check(name: str, first: int, count: int, seconds: float) -> None:
    path = CORPUS[name].fetch() if name in CORPUS else NETS / f"{name}.tflite"
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.flips", str(path), str(first), str(count)], cwd=ROOT,
        capture_output=True, text=True, timeout=seconds, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, lines[-1:] + done.stderr.splitlines()[-3:]
    assert not [line for line in lines if "RAISED" in line]
    said = {line.split()[2] for line in lines if line.startswith("end")}
    assert {"ok", "InvalidModel"} <= said

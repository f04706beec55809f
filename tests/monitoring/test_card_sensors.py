"""The card's sensors: right units, both kernels' names, and silence where there is no card."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring import gpu
from tests.monitoring.card import record


def read(root: Path) -> dict[str, float]:
    return {
        sample.name.removeprefix("rx580_gpu_")
        + "".join(f" {v}" for k, v in sample.labels.items() if k != "card"): sample.value
        for family in gpu.collect(root)
        for sample in family.samples
    }


def test_every_sensor_has_its_unit(tmp_path: Path) -> None:
    record(tmp_path)
    assert read(tmp_path) == pytest.approx({
        "busy_ratio": 0.37, "memory_busy_ratio": 0.12,
        "vram_used_bytes": 2147483648, "vram_total_bytes": 8589934592,
        "gtt_used_bytes": 33554432,
        "temperature_celsius": 61, "temperature_critical_celsius": 94,
        "fan_rpm": 1340, "fan_ratio": 0.4, "power_watts": 87.24, "power_cap_watts": 145,
        "voltage_volts": 1.081,
        "clock_hertz core": 1257e6, "clock_hertz memory": 2e9,
        "clock_max_hertz core": 1366e6, "clock_max_hertz memory": 2e9,
    })  # fmt: skip


def test_power_has_another_name_from_linux_6_6_on(tmp_path: Path) -> None:
    record(tmp_path, hwmon__hwmon3__power1_average="", hwmon__hwmon3__power1_input="90000000")
    assert read(tmp_path)["power_watts"] == 90


def test_what_cannot_be_read_is_absent_and_the_rest_stays(tmp_path: Path) -> None:
    device = record(tmp_path, gpu_busy_percent="", mem_busy_percent="<unknown>")
    (device / "hwmon/hwmon3/temp1_input").unlink()
    # A sleeping card fails the read; a folder in the file's place fails it too, even for root.
    (device / "hwmon/hwmon3/temp1_input").mkdir()
    found = read(tmp_path)
    assert not {"busy_ratio", "memory_busy_ratio", "temperature_celsius"} & set(found)
    assert found["fan_rpm"] == 1340


def test_no_card_and_other_makers_cards_have_no_series(tmp_path: Path) -> None:
    assert read(tmp_path) == {}
    record(tmp_path, vendor="0x10de")
    assert read(tmp_path) == {}


def test_two_cards_are_told_apart(tmp_path: Path) -> None:
    record(tmp_path, "card0")
    record(tmp_path, "card1", hwmon__hwmon3__temp1_input="50000")
    family = next(f for f in gpu.collect(tmp_path) if f.name.endswith("temperature_celsius"))
    assert {s.labels["card"]: s.value for s in family.samples} == {"card0": 61, "card1": 50}

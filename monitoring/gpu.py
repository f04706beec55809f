"""The card as amdgpu's sysfs shows it. Without a card there is no series, rather than a zero."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import Metric

from monitoring import catalogue
from monitoring.metric import Spec, family

_AMD = "0x1002"

# metric: the files that may hold it, first found wins (below device/), and its unit's factor.
# power1_average became power1_input in Linux 6.6.
_READINGS: dict[Spec, tuple[tuple[str, ...], float]] = {
    catalogue.GPU_BUSY: (("gpu_busy_percent",), 0.01),
    catalogue.GPU_MEM_BUSY: (("mem_busy_percent",), 0.01),
    catalogue.GPU_VRAM_USED: (("mem_info_vram_used",), 1),
    catalogue.GPU_VRAM_TOTAL: (("mem_info_vram_total",), 1),
    catalogue.GPU_GTT_USED: (("mem_info_gtt_used",), 1),
    catalogue.GPU_TEMPERATURE: (("hwmon/hwmon*/temp1_input",), 1e-3),
    catalogue.GPU_TEMPERATURE_CRITICAL: (("hwmon/hwmon*/temp1_crit",), 1e-3),
    catalogue.GPU_FAN: (("hwmon/hwmon*/fan1_input",), 1),
    catalogue.GPU_FAN_RATIO: (("hwmon/hwmon*/pwm1",), 1 / 255),
    catalogue.GPU_POWER: (("hwmon/hwmon*/power1_average", "hwmon/hwmon*/power1_input"), 1e-6),
    catalogue.GPU_POWER_CAP: (("hwmon/hwmon*/power1_cap",), 1e-6),
    catalogue.GPU_VOLTAGE: (("hwmon/hwmon*/in0_input",), 1e-3),
}
_CLOCKS = {"core": ("hwmon/hwmon*/freq1_input", "pp_dpm_sclk"),
           "memory": ("hwmon/hwmon*/freq2_input", "pp_dpm_mclk")}  # fmt: skip
_LEVEL = re.compile(r"^\d+: (\d+)Mhz", re.MULTILINE | re.IGNORECASE)


def collect(sysfs: Path = Path("/sys")) -> Iterator[Metric]:
    """Give what can be read of every AMD card; a file that is missing or fails is left out."""
    cards = list(_cards(sysfs))
    for spec, (patterns, factor) in _READINGS.items():
        samples = []
        for name, device in cards:
            value = _number(device, patterns)
            if value is not None:
                samples.append(((name,), value * factor))
        if samples:
            yield family(spec, samples)
    yield from _clocks(cards)


def _clocks(cards: list[tuple[str, Path]]) -> Iterator[Metric]:
    present, highest = [], []
    for name, device in cards:
        for clock, (pattern, table) in _CLOCKS.items():
            value = _number(device, (pattern,))
            if value is not None:
                present.append(((name, clock), value))
            levels = _LEVEL.findall(_text(device / table) or "")
            if levels:
                highest.append(((name, clock), max(map(float, levels)) * 1e6))
    for spec, samples in ((catalogue.GPU_CLOCK, present), (catalogue.GPU_CLOCK_MAX, highest)):
        if samples:
            yield family(spec, samples)


def _cards(sysfs: Path) -> Iterator[tuple[str, Path]]:
    # card0-HDMI-A-1 and the like are connectors.
    for folder in sorted(sysfs.glob("class/drm/card*")):
        device = folder / "device"
        if folder.name.removeprefix("card").isdigit() and _text(device / "vendor") == _AMD:
            yield folder.name, device


def _number(device: Path, patterns: tuple[str, ...]) -> float | None:
    for pattern in patterns:
        for path in sorted(device.glob(pattern)):
            text = _text(path)
            try:
                return float(text) if text else None
            except ValueError:
                return None
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None  # the card sleeps, or its driver is gone

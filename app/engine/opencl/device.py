"""Find the OpenCL devices, choose one for this worker, describe it as a profile."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyopencl as cl

from app.engine.profile import RX_580, DeviceProfile
from app.errors import DeviceError, DeviceNotFound

AUTO = "auto"
PROBE_SECONDS = 60.0
BOARD_NAME_AMD = 0x4038
TOPOLOGY_AMD = 0x4037
PCI_BUS_INFO_KHR = 0x410F
# PoCL translates a kernel for the work-groups that it is launched with, and once more for any when
# it is asked for a binary: kernels here gain nothing from the former, and no load is fast without
# the latter.
ONE_VARIANT = ("POCL_WORK_GROUP_SPECIALIZATION", "0")
POCL = "Portable Computing Language"
# What PoCL calls the processors with AVX-512 that it compiles for.
WIDE = re.compile(r"avx512|(?:ice|cascade|cooper|tiger|rocket|cannon)lake|rapids|znver[4-9]")
CPU_FLAGS = Path("/proc/cpuinfo")
PCI = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """One OpenCL device as its driver describes it.

    pci is "0000:03:00.0" where the driver tells, "" elsewhere.
    """

    name: str
    board: str
    vendor: str
    driver: str
    platform: str
    pci: str
    address: tuple[int, int]
    profile: DeviceProfile
    handle: Any = field(repr=False)

    @property
    def label(self) -> str:
        """For people: the board's name where the driver hides it behind a code name."""
        return f"{self.board} ({self.name})" if self.board else self.name

    def matches(self, pattern: str) -> bool:
        """Whether a pattern means this device: a PCI bus id, or text (a regular expression) in
        the name, board name, vendor, platform or driver; letter case does not matter."""
        if PCI.fullmatch(pattern):
            return self.pci.lower().endswith(pattern.lower())
        texts = (self.name, self.board, self.vendor, self.platform, self.driver)
        try:
            found = re.compile(pattern, re.IGNORECASE)
        except re.error:
            found = re.compile(re.escape(pattern), re.IGNORECASE)
        return any(found.search(text) for text in texts)


def devices() -> list[Device]:
    """Every OpenCL device of every driver, GPUs first.

    Must be called in a worker, never before fork: PoCL's threads do not survive it.
    """
    os.environ.setdefault(*ONE_VARIANT)
    try:
        platforms = cl.get_platforms()
    except cl.Error:
        # The loader answers "no platform" by an error.
        return []
    found: list[Device] = []
    for p, platform in enumerate(platforms):
        try:
            handles = platform.get_devices()
        except cl.Error:
            continue
        found.extend(_describe(platform, h, (p, d)) for d, h in enumerate(handles))
    return sorted(found, key=lambda d: d.profile.is_cpu)


def choose(pattern: str = AUTO, slot: int = 0) -> Device | None:
    """The device for a worker: those that match take the workers in turn.

    auto takes GPUs only and may find none (None); any other pattern is strict.
    Raises: DeviceNotFound if a strict pattern matches nothing, with the list of what there is.
    """
    there = devices()
    if pattern in ("", AUTO):
        fit = [d for d in there if not d.profile.is_cpu]
        return fit[slot % len(fit)] if fit else None
    fit = [d for d in there if d.matches(pattern)]
    if not fit:
        listed = "; ".join(f"{d.label} [{d.platform}, {d.vendor}, driver {d.driver}"
                           f"{', PCI ' + d.pci if d.pci else ''}]" for d in there)
        raise DeviceNotFound(
            f"OPENCL_DEVICE={pattern!r} matches none of the OpenCL devices; there "
            f"{'is: ' + listed if listed else 'are none (is a driver installed, and is the user '}"
            f"{'' if listed else 'in the groups render and video?)'}. Use a part of a name, a PCI "
            "bus id such as 0000:03:00.0, or auto")
    return fit[slot % len(fit)]


def probe(device: Device, timeout: float = PROBE_SECONDS) -> None:
    """Let a child process build and run a wide-vector kernel: a driver may abort or lie there.

    Units: timeout in seconds.
    Raises: DeviceError that tells what the child saw.
    """
    command = [sys.executable, "-m", "app.engine.opencl.probe", *map(str, device.address)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                              check=False)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{device.label} did not finish a small kernel within {timeout:g} s; "
                          "it is not used") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        how = (f"was killed by signal {-done.returncode}" if done.returncode < 0
               else f"ended with {done.returncode}")
        raise DeviceError(f"{device.label} failed the probe and is not used: the child {how}: "
                          f"{said}")


def _describe(platform: Any, handle: Any, address: tuple[int, int]) -> Device:
    board = _query(handle, BOARD_NAME_AMD)
    return Device(handle.name.strip(), board, handle.vendor.strip(), handle.driver_version,
                  platform.name.strip(), _pci(handle), address, _profile(handle, board), handle)


def _query(handle: Any, code: int) -> str:
    try:
        value = handle.get_info(code)
    except (cl.Error, ValueError):
        return ""
    return value.strip("\0 ") if isinstance(value, str) else ""


def _pci(handle: Any) -> str:
    for code, read in ((PCI_BUS_INFO_KHR, _khr), (TOPOLOGY_AMD, _amd)):
        try:
            return read(handle.get_info(code))
        except (cl.Error, ValueError, AttributeError, TypeError, struct.error):
            # Each driver answers one of them, or neither.
            continue
    return ""


def _khr(info: Any) -> str:
    return (f"{info.pci_domain:04x}:{info.pci_bus:02x}:{info.pci_device:02x}."
            f"{info.pci_function:x}")


def _amd(info: Any) -> str:
    return f"0000:{info.bus & 255:02x}:{info.device & 255:02x}.{info.function & 7:x}"


def _profile(handle: Any, board: str) -> DeviceProfile:
    cpu = bool(handle.type & cl.device_type.CPU)
    known = re.search(r"RX 5[78]0|ellesmere|gfx803|polaris10", f"{handle.name} {board}",
                      re.IGNORECASE)
    return DeviceProfile(
        name=handle.name.strip(), kind="cpu" if cpu else "gpu",
        compute_units=handle.max_compute_units,
        max_work_group=min(handle.max_work_group_size, 4096 if cpu else 256),
        local_bytes=handle.local_mem_size, max_alloc=handle.max_mem_alloc_size,
        global_bytes=handle.global_mem_size, align=max(handle.mem_base_addr_align // 8, 64),
        vector=16 if cpu else 4, native=handle.native_vector_width_float,
        dots=cpu and _has_dots(handle),
        flops=RX_580.flops if known else 0.0, bandwidth=RX_580.bandwidth if known else 0.0)


def _has_dots(handle: Any) -> bool:
    """Whether PoCL compiles for a processor with AVX-512, and this machine's has VNNI too.

    PoCL knows fewer processors than there are: it says so of none.
    """
    try:
        flags = set(re.findall(r"\w+", CPU_FLAGS.read_text("ascii", "replace")))
    except OSError:
        return False
    return (handle.platform.name.strip() == POCL and bool(WIDE.search(handle.name))
            and os.uname().machine == "x86_64" and {"avx512_vnni", "avx512vl"} <= flags)

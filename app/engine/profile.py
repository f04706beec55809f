"""What the engine needs to know about a device; real ones and a simulated RX 580."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.engine.choices import Choices


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """The limits and the shape of one device; ops choose their kernel variant by it.

    Units: bytes; vector is the widest float vector that pays in registers, native the floats that
           one register holds; dots tells of instructions for dot products of 8-bit integers
           (AVX-512 VNNI); kind is "cpu" or "gpu"; flops and bandwidth are the roofline in
           FLOP/s and bytes/s (0 = unknown).
    """

    name: str
    kind: str
    compute_units: int
    max_work_group: int
    local_bytes: int
    max_alloc: int
    global_bytes: int
    align: int
    vector: int
    native: int = 8
    fp16_storage: bool = False
    dots: bool = False
    flops: float = 0.0
    bandwidth: float = 0.0
    choices: Choices = field(default_factory=Choices, compare=False, repr=False)

    @property
    def is_cpu(self) -> bool:
        """Whether one work-item per tile is the right shape."""
        return self.kind == "cpu"

    @property
    def group(self) -> int:
        """Work-items of a one-dimensional work-group: 1 on CPUs, a wavefront on GPUs."""
        return 1 if self.is_cpu else 64


RX_580 = DeviceProfile(
    name="AMD Radeon RX 580 (simulated)", kind="gpu", compute_units=36, max_work_group=256,
    local_bytes=32 << 10, max_alloc=2 << 30, global_bytes=8 << 30, align=256, vector=4,
    flops=6.17e12, bandwidth=256e9,
)

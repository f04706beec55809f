"""Convolutions and matrix products shaped for GPUs: tiles of one wavefront or a few, in LDS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from app.engine.ir import Arg, Const, Data, Launch, Tensor
from app.engine.ops.precision import halved
from app.engine.profile import DeviceProfile

if TYPE_CHECKING:
    from app.engine.ops.conv import Geometry, Selection

i32 = np.int32
WAVE = 64
LDS_BYTES = 32 << 10
# All that a compute unit's sixteen wavefronts share.
CU_LDS_BYTES = 64 << 10
# Rows for which a product is read along K (gemv) rather than tiled.
FEW_ROWS = 4
# Fetches of x that a lane may have in flight: with these, every variant keeps four wavefronts a
# SIMD on gfx803 (make kernels-report).
FETCHES = 2


@dataclass(frozen=True, slots=True)
class Block:
    """What one work-group computes: the defines of gemm.cl."""

    lanes: int
    tm: int
    tn: int
    lm: int
    ln: int
    tk: int
    slices: int
    av: int

    @property
    def rows(self) -> int:
        """Pixels of a work-group."""
        return self.lm * self.tm

    @property
    def panels(self) -> int:
        """Vectors of outputs of a work-group."""
        return self.ln * self.tn

    @property
    def width(self) -> int:
        """Outputs of a work-group."""
        return self.panels * self.lanes

    @property
    def group(self) -> int:
        """Work-items of a work-group."""
        return self.lm * self.ln * self.slices

    @property
    def lds(self) -> int:
        """Bytes of local memory."""
        tile = self.rows * (self.tk + 4) + self.tk * self.width
        sums = self.slices // 2 * self.lm * self.ln * self.tm * self.tn * self.lanes
        return 4 * max(self.slices * tile, sums)

    @property
    def fetches(self) -> int:
        """Loads of x by one lane for one step of tk."""
        return -(-self.rows * self.tk // (self.av * self.lm * self.ln))

    def steps(self, k: int) -> int:
        """Steps of tk that each slice takes over k values."""
        return max(1, -(-k // (self.tk * self.slices)))

    def defines(self) -> dict[str, str | int]:
        """For the kernel."""
        return {"VW": self.lanes, "TM": self.tm, "TN": self.tn, "LM": self.lm, "LN": self.ln,
                "TK": self.tk, "KS": self.slices, "AV": self.av}


# Lanes along pixels and along outputs: one wavefront, or four that share their tiles.
SHAPES = ((64, 1), (32, 2), (16, 4), (8, 8), (4, 16), (16, 16), (32, 8))


@lru_cache
def blocks(lanes: int, av: int, work_group: int, lds: int) -> tuple[Block, ...]:
    """Every block that the registers, the LDS and the work-group of a device allow."""
    found = []
    for lm, ln in SHAPES:
        wave = lm * ln
        for tm in (4, 2, 1):
            # A deep step reads whole cache lines, a shallow one leaves LDS to more wavefronts.
            deep = 16 if wave > WAVE or lm * tm < 32 else 8
            tk = deep // 2 if av == 1 else deep
            for slices in (1, 2, 4) if wave == WAVE else (1,):
                block = Block(lanes, tm, 1, lm, ln, tk, slices, av)
                if (block.fetches <= FETCHES and block.group <= work_group and block.lds <= lds
                        and 16 * block.lds <= block.group // WAVE * CU_LDS_BYTES):
                    found.append(block)
    return tuple(found)


def choose(profile: DeviceProfile, rows: int, outputs: int, k: int, batch: int, lanes: int,
           av: int) -> Block:
    """The block for batch products of [rows,k] by [k,outputs]: tuned, or the fastest predicted."""
    there = blocks(lanes, av, profile.max_work_group, min(LDS_BYTES, profile.local_bytes))
    return profile.choices.pick(
        f"block {batch}x{rows}x{outputs}x{k}", there,
        lambda b: (cycles(b, profile, rows, outputs, k, batch), b.group, b.lds))


@lru_cache(65536)
def cycles(b: Block, profile: DeviceProfile, rows: int, outputs: int, k: int,
           batch: int) -> float:
    """Predicted cycles of a product on a GCN device.

    Source: GCN3 ISA: four SIMDs a compute unit, a vector instruction takes a wavefront 4 cycles,
            LDS gives 128 bytes and L1 64 bytes a cycle; 500 cycles to memory.
    """
    groups = -(-rows // b.rows) * -(-outputs // b.width) * batch
    waves = groups * max(b.group // WAVE, 1)
    products = b.tm * b.tn * b.lanes
    vector = 4 * b.tk * products
    lds = 8 * b.tk * (b.tm + b.tn * b.lanes)
    fetched = -(-b.tk * b.panels // (b.lm * b.ln)) + b.fetches
    step = max(vector, lds) + 90 * fetched + 60
    end = 700 + 60 * b.tm * b.tn + (b.slices - 1) * (200 + 24 * products)
    simds = 4 * max(profile.compute_units, 1)
    busy = -(-waves // simds) * (b.steps(k) * step + 0.3 * end)
    resident = min(4, max(1, CU_LDS_BYTES // max(b.lds, 1) * (b.group // WAVE) // 4))
    alone = -(-waves // (simds * resident)) * (b.steps(k) * max(step, 500) + end)
    moved = 4 * groups * k * (b.rows + b.width) / (32 * max(profile.compute_units, 1))
    return max(busy, alone, moved)


def conv_gemm(x: Tensor, w: Tensor, bias: Arg, y: Tensor, g: Geometry, select: Selection,
              epilogue: Mapping[str, str | int], operands: list[Arg],
              profile: DeviceProfile) -> Launch:
    """The launch of a convolution whose selected weights are [O, KH, KW, C/groups]."""
    of_group, channels = g.outputs // g.groups, g.channels // g.groups
    k = g.rows.kernel * g.columns.kernel * channels
    rows = g.batch * g.rows.out * g.columns.out
    first, per_image, per_row, per_column = g.steps
    point = k == g.channels and all(
        a.kernel == a.stride == 1 and not a.before and not a.after for a in (g.rows, g.columns))
    point = point and g.batch * g.rows.out == 1
    half = halved(w, profile)
    if point and rows <= FEW_ROWS:
        return _gemv(x, w, bias, y, (rows, k, g.outputs), (first, per_column), select, half,
                     epilogue, operands)
    lanes = _vector(of_group, profile)
    block = choose(profile, rows, of_group, k, g.groups, lanes, 4 if channels % 4 == 0 else 1)
    steps = block.steps(k)
    numbers = (g.rows.extent, g.columns.extent, g.channels, channels, g.columns.out,
               g.rows.out * g.columns.out, rows, of_group, g.groups, g.columns.kernel, k,
               g.rows.stride, g.columns.stride, g.rows.before, g.columns.before,
               g.rows.dilation, g.columns.dilation, steps, first, per_image, per_row, per_column,
               g.outputs, 0)
    args = (x, packed(w, g, block, steps, select, half), bias, y, *map(i32, numbers), *operands)
    size = (-(-of_group // block.width) * block.group, -(-rows // block.rows), g.groups)
    return Launch("gemm", "gemm", args, size, (block.group, 1, 1),
                  {**block.defines(), "POINT": int(point), "HALF_WEIGHTS": int(half), **epilogue},
                  g.flops, even=of_group % lanes == 0)


def packed(w: Tensor, g: Geometry, b: Block, steps: int, select: Selection,
           half: bool) -> Const:
    """Weights as gemm.cl reads them: [group][block][K, zeros behind][panel][lane]."""
    of_group = g.outputs // g.groups
    count = -(-of_group // b.lanes)
    starts = [min(p * b.lanes, of_group - b.lanes) for p in range(count)]
    depth = steps * b.tk * b.slices

    def pack(data: Data) -> Data:
        rows = select[1](data).reshape(g.groups, of_group, -1)
        k = rows.shape[2]
        grouped = -(-count // b.panels)
        full = np.zeros((g.groups, depth, grouped * b.panels, b.lanes),
                        np.float16 if half else np.float32)
        for position, start in enumerate(starts):
            full[:, :k, position] = rows[:, start:start + b.lanes].transpose(0, 2, 1)
        split = full.reshape(g.groups, depth, grouped, b.panels * b.lanes)
        return np.ascontiguousarray(split.transpose(0, 2, 1, 3))

    return Const(w, f"blocks{b.lanes}x{b.panels},{depth}/{g.groups} {select[0]} {half}", pack)


def _vector(extent: int, profile: DeviceProfile) -> int:
    width = min(profile.vector, 4)
    while width > max(extent, 1):
        width //= 2
    return width


def _gemv(x: Tensor, w: Tensor, bias: Arg, y: Tensor, extents: tuple[int, int, int],
          pixels: tuple[int, int], select: Selection, half: bool,
          epilogue: Mapping[str, str | int], operands: list[Arg]) -> Launch:
    rows, k, outputs = extents
    vector = 4 if k % 4 == 0 else 1
    share = 64 if k >= 64 * vector else 16 if k >= 16 * vector else 4
    kind = np.float16 if half else np.float32
    rewritten = Const(w, f"rows {select[0]} {half}",
                      lambda d: np.ravel(select[1](d)).astype(kind))
    numbers = (k, outputs, *pixels, outputs)
    return Launch("gemv", "gemv", (x, rewritten, bias, y, *map(i32, numbers), *operands),
                  (-(-outputs // (WAVE // share)) * WAVE,), (WAVE,),
                  {"VW": vector, "RM": rows, "LK": share, "HALF_WEIGHTS": int(half), **epilogue},
                  2 * rows * k * outputs, even=True)


def batch_gemm(left: Arg, right: Arg, y: Tensor, extents: tuple[int, int, int], batches: int,
               jumps: tuple[int, ...], epilogue: Mapping[str, str | int], operands: list[Arg],
               profile: DeviceProfile) -> Launch:
    """The launch of y [B,M,N] = left [B,M,K] * right [B,K,N], both computed by the model.

    jumps: the second batch extent, then the floats between matrices of left and of right.
    """
    m, k, n = extents
    lanes = _vector(n, profile)
    block = choose(profile, m, n, k, batches, lanes, 4 if k % 4 == 0 else 1)
    args = (left, right, y, *map(i32, (m, k, n, *jumps, block.steps(k))), *operands)
    return Launch("gemm", "gemm_batch", args,
                  (-(-n // block.width) * block.group, -(-m // block.rows), batches),
                  (block.group, 1, 1), {**block.defines(), **epilogue}, 2 * batches * m * k * n,
                  even=n % lanes == 0)

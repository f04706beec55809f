"""The kernels that an RX 580 would get are made for it: compiled for gfx803, without the card."""

from __future__ import annotations

import numpy as np
import pytest

from app.engine.ir import Const, Launch, Scratch, Tensor
from app.engine.planner import Plan
from app.engine.profile import RX_580, DeviceProfile
from bench.kernels import gfx803
from bench.kernels.__main__ import HALVES, main
from bench.kernels.plans import launches, plan_all, plan_blob, programs
from bench.kernels.roofline import predict
from tests.engine.builder import Spec, single_op
from tests.engine.corpus import CORPUS, nets
from tests.tools import require_tool

SAMPLE = ("face_detection_short_range", "hand_landmark_lite", "embedding_model", "unet_float32")
# Programs that one run of the sample compiles: half a second each.
SAMPLE_PROGRAMS = 40


def check_programs(plans: dict[str, Plan], most: int | None = None) -> None:
    require_tool("clang-19")
    wanted = sorted(programs(plans.values()), key=lambda p: (p.source, p.text))
    step = max(1, len(wanted) // most) if most else 1
    usages = gfx803.compile_all(wanted[::step])
    faults = [f"{p.label}: {f}" for p, u in usages.items() for f in u.faults(p.kernel)]
    assert not faults, "\n".join(faults)


def test_the_samples_kernels_neither_spill_nor_starve() -> None:
    check_programs(plan_all(SAMPLE)[0], SAMPLE_PROGRAMS)


def test_nor_do_long_windows_of_columns() -> None:
    blob = single_op("DEPTHWISE_CONV_2D", [Spec((1, 90, 1, 32)), np.ones((1, 21, 1, 32), "f4")],
                     [Spec((1, 90, 1, 32))],
                     {"padding": "SAME", "strideH": 1, "strideW": 1, "depthMultiplier": 1})
    check_programs({"column": plan_blob(blob, profile=RX_580)})


def test_nor_do_those_that_read_halves() -> None:
    check_programs(plan_all(SAMPLE, HALVES)[0], SAMPLE_PROGRAMS // 4)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("profile", [RX_580, HALVES])
def test_every_kernel_of_the_corpus_neither_spills_nor_starves(profile: DeviceProfile) -> None:
    check_programs(plan_all(profile=profile)[0])


def test_tiled_products_spend_their_inner_loop_on_products() -> None:
    require_tool("clang-19")
    big = [p for p in programs(plan_all(["hand_landmark_lite"])[0].values())
           if p.kernel == "gemm" and dict(p.defines)["TM"] == 4]
    assert big
    assert all(u.share > 0.6 for u in gfx803.compile_all(big[:3]).values())


def test_a_spilling_kernel_is_a_fault() -> None:
    spilled = gfx803.Usage(64, 30, scratch=44, lds=0, waves=4, spills=22, share=0.5)
    starved = gfx803.Usage(90, 30, scratch=0, lds=40 << 10, waves=2, spills=0, share=0.5)
    assert spilled.faults("gemm") == ["44 bytes of scratch"]
    assert len(starved.faults("gemm")) == 2
    assert len(starved.faults("pool")) == 1


def test_the_share_is_that_of_the_innermost_loop() -> None:
    lines = ["v_mac_f32 v0, v1, v2", ".L1:", "s_nop 0", ".L2:", "v_mac_f32 v0, v1, v2",
             "ds_read_b32 v1", "v_mac_f32 v0, v1, v2", "s_cbranch_scc1 .L2", "s_cbranch_scc1 .L1"]
    assert gfx803.share_of_products(lines) == 0.5


def corpus_names() -> list[str]:
    return [*CORPUS, *(p.stem for p in nets())]


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return plan_all(SAMPLE)[0]


def check_limits(plan: Plan) -> None:
    for launch in launches(plan):
        lanes = 1
        for width in launch.local_size:
            lanes *= width
        assert lanes <= RX_580.max_work_group, launch.source
        for arg in launch.args:
            assert nbytes_of(arg) <= RX_580.max_alloc, launch.source
    assert plan.arena_bytes <= RX_580.max_alloc
    assert plan.arena_bytes <= 1.1 * plan.bound_bytes


def nbytes_of(arg: object) -> int:
    return arg.nbytes if isinstance(arg, Tensor | Scratch) else (
        arg.tensor.nbytes if isinstance(arg, Const) else 0)


@pytest.mark.parametrize("name", corpus_names())
def test_plans_keep_to_the_cards_limits(name: str) -> None:
    plans, refused = plan_all([name])
    if refused:
        pytest.skip(f"no plan yet: {refused[name]}")
    check_limits(plans[name])


def test_the_roofline_adds_up(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        line = predict(plan, RX_580, 7e-6)
        assert line.least <= line.moved
        assert line.total == pytest.approx(line.compute + 7e-6 * line.launches)
        assert line.compute >= max(line.flops / RX_580.flops, line.moved / RX_580.bandwidth) * 0.999
        assert all(isinstance(s, Launch) for s in launches(plan))


def test_the_report_prints_both_tables(capsys: pytest.CaptureFixture[str]) -> None:
    require_tool("clang-19")
    assert main(["--check", "--model", "unet_float32"]) == 0
    printed = capsys.readouterr().out
    assert "| unet_float32 | " in printed
    assert "| `gemm(" in printed

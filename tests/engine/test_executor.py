"""Running plans: one call for many launches, shared weights, errors that tell what was wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.engine.ir import Graph, Launch, Node, Tensor
from app.engine.loaded import LoadedModel
from app.engine.opencl.executor import Executor
from app.engine.opencl.programs import FEW, Programs
from app.engine.opencl.weights import Weights
from app.engine.planner import plan
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.errors import DeviceError, InvalidInput, KernelBuildError
from bench.kernels.plans import plan_blob
from tests.engine import oracle
from tests.engine.builder import Spec, single_op
from tests.engine.corpus import NETS


def test_plans_of_several_batches_share_their_weights(runtime: Runtime) -> None:
    blob = (NETS / "unet_float32.tflite").read_bytes()
    model = LoadedModel(runtime, read(blob))
    (x,) = oracle.random_inputs(blob, free=4)
    model.run([x[:1]])
    packed = model.nbytes
    batch = model.run([x])[0]
    arenas = 4 * packed
    assert model.nbytes < arenas
    for row in range(4):
        oracle.assert_close(batch[row:row + 1], model.run([x[row:row + 1]])[0])
    model.close()


@pytest.mark.parametrize("net", sorted(NETS.glob("*_float32.tflite")), ids=lambda p: p.stem)
def test_the_arena_is_near_its_lower_bound(runtime: Runtime, net: Path) -> None:
    found = plan_blob(net.read_bytes(), profile=runtime.device.profile)
    # Alignment alone may cost that much where every tensor is tiny.
    room = runtime.device.profile.align * 16
    assert found.arena_bytes <= 1.1 * found.bound_bytes + room


def _launch(runtime: Runtime, launch: Launch, x: Tensor, y: Tensor) -> None:
    graph = Graph("g", (Node("ABS", (x,), (y,)),), (x,), (y,))
    ready = plan(graph, runtime.device.profile)
    object.__setattr__(ready, "steps", (launch,))
    Executor(ready, runtime.queue, runtime.programs, Weights(runtime.context, runtime.queue))


def test_a_kernel_that_does_not_build_tells_its_log(runtime: Runtime) -> None:
    x, y = Tensor("x", (4,), "float32"), Tensor("y", (4,), "float32")
    bad = Launch("elementwise", "elementwise", (x, y, np.int32(1), np.int32(4)), (1, 1), (1, 1),
                 {"VW": 3.5, "PER": "nonsense"})  # type: ignore[dict-item]
    with pytest.raises(KernelBuildError, match=r"elementwise\.cl did not build with \[VW=3\.5"):
        _launch(runtime, bad, x, y)


def test_a_wrong_argument_is_an_error_of_the_device(runtime: Runtime) -> None:
    x, y = Tensor("x", (4,), "float32"), Tensor("y", (4,), "float32")
    bad = Launch("elementwise", "elementwise", (x, y, np.float64(1), np.int32(4)), (1, 1), (1, 1),
                 {"VW": 1, "PER": 1})
    with pytest.raises(DeviceError, match=r"clSetKernelArg\(\w+, 2\)|did not build"):
        _launch(runtime, bad, x, y)


def test_shapes_that_do_not_fit_are_refused(runtime: Runtime) -> None:
    blob = single_op("ADD", [Spec((2, 3)), Spec((2, 3))], [Spec((2, 3))])
    model = LoadedModel(runtime, read(blob))
    with pytest.raises(InvalidInput, match="operator 0"):
        model.run([np.zeros((2, 3), "f4"), np.zeros((4, 5), "f4")])
    with pytest.raises(InvalidInput, match="has 2 inputs and 1 were given"):
        model.run([np.zeros((2, 3), "f4")])
    model.close()


X, Y = Tensor("x", (4,), "float32"), Tensor("y", (4,), "float32")


def _elementwise(per: int | str) -> Launch:
    return Launch("elementwise", "elementwise", (X, Y, np.int32(1), np.int32(4)), (1, 1), (1, 1),
                  {"VW": 1, "PER": per})


def test_many_kernels_of_a_plan_are_one_program(tmp_path: Path, runtime: Runtime) -> None:
    # Two kernels of one file, and the same one twice.
    copies = [Launch("copy", "fill", (Y, np.int32(0), np.int32(4)), (4,), (1,),
                     {"T": "float", "UNIT": 1, "VALUE": 0}),
              Launch("copy", "copy", (X, Y, *map(np.int32, [1] * 18)), (4,), (1,),
                     {"T": "float", "UNIT": 1, "VALUE": 0})]
    wanted = [*map(_elementwise, range(1, FEW)), _elementwise(1), *copies]
    programs = Programs(runtime.context, tmp_path)
    found = programs.joined(wanted)
    assert len(found) == len(wanted) - 1
    assert programs.compiled == 1
    for (kernel, *_), (program, name) in found.items():
        assert name.endswith(kernel)
        assert name in program.kernel_names.split(";")
    again = Programs(runtime.context, tmp_path)
    assert len(again.joined(wanted)) == len(found)
    assert again.compiled == 0


_COMPILE = """
import sys
from pathlib import Path
import pyopencl as cl
from app.engine.opencl.device import choose
from app.engine.opencl.programs import Programs
from tests.engine.test_executor import _elementwise
programs = Programs(cl.Context([choose(sys.argv[2], 0).handle]), Path(sys.argv[1]))
for per in range(1, 5):
    programs.get(_elementwise(per))
print(programs.compiled)
"""


def test_processes_share_what_each_compiles(tmp_path: Path, runtime: Runtime) -> None:
    command = [sys.executable, "-c", _COMPILE, str(tmp_path), re.escape(runtime.device.name)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sum(counts) == 4


def test_one_bad_kernel_of_many_is_named(runtime: Runtime) -> None:
    good = [*map(_elementwise, range(1, FEW))]
    assert len(runtime.programs.joined(good)) == 0
    assert runtime.programs.joined([*good, _elementwise("nonsense")]) == {}
    with pytest.raises(KernelBuildError, match="nonsense"):
        runtime.programs.get(_elementwise("nonsense"))

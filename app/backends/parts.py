"""The CPU backend for models that no runtime takes whole: the engine cuts them into parts."""

from __future__ import annotations

from collections.abc import Mapping

from app.backends.details import describe
from app.backends.fit import fit, has_batch
from app.backends.tflite import joined_runs, part_of
from app.engine.cpu.whole import WholeModel
from app.engine.known import refuse_unknown
from app.engine.reader import read
from app.tensors import Array


def refuse(data: bytes) -> None:
    """Look whether the engine knows what no runtime takes whole.

    Raises: UnsupportedOp that names every operation that nothing here knows; InvalidModel.
    """
    refuse_unknown(read(data))


class PartsSession:
    """One model on the CPU, in sub-models and numpy; calls run one after the other."""

    backend = "tflite"
    stateful = False
    steady = False
    concurrency = 1

    def __init__(self, data: bytes, why: str) -> None:
        self._model = WholeModel(read(data))
        self.inputs = describe(self._model.inputs, "input")
        self.outputs = describe(self._model.outputs, "output")
        self.joins = has_batch((*self.inputs, *self.outputs))
        self.memory_bytes = 2 * len(data)
        self.device = "CPU (in parts)"
        self.reason = f"in parts by the CPU's runtimes and numpy, because {why}"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; several of the model's own batches run one after the other.

        Raises: InvalidInput.
        """
        arrays, runs = fit(self.inputs, inputs)
        results = []
        for index in range(runs):
            part = part_of(arrays, index, runs)
            answers = self._model.run([part[spec.name] for spec in self.inputs])
            results.append({s.name: a for s, a in zip(self.outputs, answers, strict=True)})
        return joined_runs(results, self.inputs)

    def close(self) -> None:
        """Nothing outlives the session."""

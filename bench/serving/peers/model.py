"""What every peer serves: one TFLite model, an interpreter for each thread."""

import os
import threading

import numpy as np
from tflite_runtime.interpreter import Interpreter

_local = threading.local()


def run(array: np.ndarray) -> list[np.ndarray]:
    """Run the model at $MODEL once."""
    if not hasattr(_local, "model"):
        _local.model = Interpreter(model_path=os.environ["MODEL"], num_threads=1)
        _local.model.allocate_tensors()
        _local.input = _local.model.get_input_details()[0]["index"]
        _local.outputs = [detail["index"] for detail in _local.model.get_output_details()]
    _local.model.set_tensor(_local.input, array)
    _local.model.invoke()
    return [_local.model.get_tensor(index) for index in _local.outputs]

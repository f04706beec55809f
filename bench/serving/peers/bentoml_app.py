"""BentoML as its tutorial has it."""

from typing import Any

import bentoml
import model
import numpy as np


@bentoml.service(workers=2)
class Service:
    @bentoml.api(route="/json")
    def predict(self, data: np.ndarray) -> dict[str, Any]:
        outputs = model.run(data.astype(np.float32))
        return {"outputs": [output.tolist() for output in outputs]}

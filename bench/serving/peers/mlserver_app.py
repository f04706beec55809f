"""MLServer with a custom runtime, as its documentation has it."""

import model
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        array = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        outputs = model.run(array.astype(np.float32))
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output(str(i), array) for i, array in enumerate(outputs)],
        )

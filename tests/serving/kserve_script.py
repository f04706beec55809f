"""What KServe's own client does, run in its own environment: it needs numpy 2."""

import asyncio
import sys

import numpy as np
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceRESTClient, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


async def main(base: str, name: str, given: str, got: str) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(base)
    assert await client.is_server_ready(base)
    assert await client.is_model_ready(base, name)
    x = np.array([[1, 2, 3, 4]], np.float32)
    for binary in (False, True):
        tensor = InferInput(given, list(x.shape), "FP32")
        tensor.set_data_from_numpy(x, binary_data=binary)
        wanted = RequestedOutput(got, parameters={"binary_data": binary})
        request = InferRequest(
            name, [tensor], request_id="id-7", request_outputs=[wanted]
        )
        for _ in range(8):
            answer = await client.infer(base, request, model_name=name)
            np.testing.assert_array_equal(answer.outputs[0].as_numpy(), x + 2)
            assert answer.id == "id-7"
    await client.close()
    print("all well")


asyncio.run(main(*sys.argv[1:]))

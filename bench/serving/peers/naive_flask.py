"""What one would write in an afternoon: Flask, orjson, numpy."""

import model
import numpy as np
import orjson
from flask import Flask, Response, request

app = Flask(__name__)


@app.post("/json")
def nested() -> Response:
    array = np.asarray(orjson.loads(request.get_data())["data"], np.float32)
    outputs = model.run(array)
    return Response(
        orjson.dumps({"outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY),
        content_type="application/json",
    )


@app.post("/binary")
def binary() -> Response:
    """Answer the protocol's binary extension, as far as this one request needs it."""
    body = request.get_data()
    size = int(request.headers["Inference-Header-Content-Length"])
    shape = orjson.loads(body[:size])["inputs"][0]["shape"]
    outputs = model.run(np.frombuffer(body, np.float32, offset=size).reshape(shape))
    head = orjson.dumps(
        {
            "model_name": "m",
            "model_version": "1",
            "outputs": [
                {
                    "name": str(index),
                    "datatype": "FP32",
                    "shape": output.shape,
                    "parameters": {"binary_data_size": output.nbytes},
                }
                for index, output in enumerate(outputs)
            ],
        }
    )
    answer = Response(b"".join([head, *(output.tobytes() for output in outputs)]))
    answer.headers["Inference-Header-Content-Length"] = str(len(head))
    return answer

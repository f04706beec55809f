"""LitServe as its tutorial has it."""

import sys
from typing import Any

import litserve
import model
import numpy as np


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        pass

    def decode_request(self, request: dict[str, Any], **_: Any) -> np.ndarray:
        return np.asarray(request["data"], np.float32)

    def predict(self, x: np.ndarray, **_: Any) -> list[np.ndarray]:
        return model.run(x)

    def encode_response(self, output: list[np.ndarray], **_: Any) -> dict[str, Any]:
        return {"outputs": [array.tolist() for array in output]}


if __name__ == "__main__":
    server = litserve.LitServer(Api(api_path="/json"), accelerator="cpu", workers_per_device=2)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=2, generate_client_file=False,
        log_level="warning",
    )  # fmt: skip

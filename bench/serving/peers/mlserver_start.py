"""Starts MLServer with two parallel workers on a port of choice."""

import asyncio
import os
import sys

from mlserver import MLServer
from mlserver.settings import ModelParameters, ModelSettings, Settings
from mlserver_app import Runtime


async def main(port: int) -> None:
    server = MLServer(
        Settings(
            http_port=port, grpc_port=port + 1, metrics_port=port + 2, parallel_workers=2,
            debug=False, host="127.0.0.1",
        )
    )  # fmt: skip
    parameters = ModelParameters(uri=os.environ["MODEL"])
    model = ModelSettings(name="m", implementation=Runtime, parameters=parameters)
    await server.start([model])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

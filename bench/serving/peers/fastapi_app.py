"""FastAPI as its tutorial has it."""

from typing import Any

import model
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Query(BaseModel):
    data: list[Any]


@app.post("/json")
def predict(query: Query) -> dict[str, Any]:
    outputs = model.run(np.asarray(query.data, np.float32))
    return {"outputs": [output.tolist() for output in outputs]}

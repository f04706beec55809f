"""Anything at all sent to inference is a 4xx problem or a right answer, never a 500."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.live import Server

JSON = {"Content-Type": "application/json"}
EXAMPLES = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=10)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=30,
)
names = st.sampled_from(["plus-one", "pair", "from-int8", "from-bool", "free", "batches", "none"])
tidy = st.fixed_dictionaries(
    {"model_name": names, "input_data": anything}, optional={"version": anything}
)


def refused(answer: requests.Response) -> bool:
    """Check that an answer is a right one in form; tell whether it is a refusal."""
    body = answer.json()
    if answer.status_code == 200:
        assert set(body) >= {"model_name", "version", "outputs"}
        return False
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert body["detail"]
    return True


@EXAMPLES
@given(body=st.binary(max_size=200))
def test_any_bytes(shared: Server, body: bytes) -> None:
    assert refused(shared.post("/inference", data=body, headers=JSON))


@EXAMPLES
@given(document=anything)
def test_any_json(shared: Server, document: Any) -> None:
    refused(shared.post("/inference", data=json.dumps(document), headers=JSON))


@EXAMPLES
@given(document=tidy)
def test_almost_a_request(shared: Server, document: Any) -> None:
    refused(shared.post("/inference", data=json.dumps(document), headers=JSON))


@EXAMPLES
@given(body=st.binary(max_size=100), kind=st.text(st.characters(codec="ascii"), max_size=30))
def test_any_content_type(shared: Server, body: bytes, kind: str) -> None:
    headers = {"Content-Type": "".join(c for c in kind if c.isprintable()).strip()}
    refused(shared.post("/inference", data=body, headers=headers))


def rectangle(data: Any) -> np.ndarray | None:
    """Read lists of numbers as the server should: finite in float32, and not ragged."""
    flat, stack = [], [data]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack += item
        else:
            flat.append(item)
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in flat):
        return None
    # Integers beyond 64 bits are no numbers to most readers of JSON.
    if any(isinstance(x, int) and not -(2**63) <= x < 2**64 for x in flat):
        return None
    try:
        array = np.array(data, dtype=np.float64)
    except ValueError:
        return None
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    return narrow if np.isfinite(narrow).all() else None


lists = st.recursive(numbers, lambda inner: st.lists(inner, max_size=4), max_leaves=20)
rows = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=n, max_size=n)
)


@EXAMPLES
@given(data=rows | lists)
def test_lists_are_answered_exactly_when_they_fit(shared: Server, data: Any) -> None:
    answer = shared.post(
        "/inference",
        data=json.dumps({"model_name": "plus-one", "input_data": data}),
        headers=JSON,
    )
    array = rectangle(data)
    fits = array is not None and array.size > 0 and array.shape[-1:] == (4,) and array.ndim <= 2
    assert refused(answer) is not fits, (data, answer.text)
    if fits and array is not None:
        (output,) = answer.json()["outputs"].values()
        expected = (array + np.float32(1)).reshape(-1, 4)
        found = [[math.inf if x is None else x for x in row] for row in output["data"]]
        np.testing.assert_array_equal(np.array(found, np.float32), expected)

"""The description of the API: complete, valid, and true under schemathesis."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from app.blueprints.operations import OPERATIONS
from tests.service.live import Server


@schemathesis.check
def no_internal_error(ctx: Any, response: Any, case: Any) -> None:
    """A deadline may pass, and a queue be full; but nothing a client sends is a 500."""
    assert response.status_code != 500, response.text


# What fits the schema may still not fit the model, so "accepts all that is valid" cannot hold.
CHECKS = [
    no_internal_error,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


@pytest.fixture(scope="session")
def api(protocol: Server) -> Any:
    return schemathesis.openapi.from_url(protocol.url + "/openapi.json")


LIMITS = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
# What is asked about a model that is there; changing it is left to other tests.
ABOUT_A_MODEL = ("/infer", "/ready", "/config", "/stats", "{name}", "{version}", "/verify")


def explore(operation: Any, known: dict[str, str] | None = None) -> list[str]:
    """Call one operation with right and wrong requests; gives what went wrong."""
    wrong: list[str] = []
    for mode in MODES:

        @given(case=operation.as_strategy(generation_mode=mode))
        @LIMITS
        def call(case: Any) -> None:
            if known:
                case.path_parameters = {key: known[key] for key in case.path_parameters or {}}
            case.call_and_validate(checks=CHECKS)

        try:
            call()
        except Unsatisfiable:
            continue
        except Exception as error:
            wrong.append(f"{operation.method} {operation.path}: {error}")
    return wrong


def operations(api: Any) -> list[Any]:
    return [result.ok() for result in api.get_all_operations()]


def test_the_api_does_what_it_says(api: Any) -> None:
    wrong = [text for operation in operations(api) for text in explore(operation)]
    assert wrong == []


def test_it_does_so_for_a_model_that_is_there(api: Any) -> None:
    known = {"name": "plus-one", "version": "1"}
    chosen = [
        operation
        for operation in operations(api)
        if "{name}" in operation.path
        and operation.path.endswith(ABOUT_A_MODEL)
        and operation.method.lower() in ("get", "post")
    ]
    assert len(chosen) > 10
    wrong = [text for operation in chosen for text in explore(operation, known)]
    assert wrong == []


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("post", "/inference", {
            "query": {"model_name", "version"},
            "header": {"X-Request-Id", "X-Request-Timeout", "X-Caller", "Content-Encoding"},
            "body": {"application/json", "image/jpeg", "image/png", "multipart/form-data"},
        }),
        ("post", "/models/{name}/load", {
            "path": {"name"}, "query": {"version"}, "header": {"X-Request-Id", "Content-Encoding"},
            "body": {"application/json"},
        }),
        ("put", "/models/{name}/versions/{version}", {
            "path": {"name", "version"}, "query": {"sha256", "backend"},
            "header": {"X-Request-Id", "X-Content-Sha256"}, "body": {"application/octet-stream"},
        }),
        ("get", "/metrics", {"query": {"name[]"}, "header": {"X-Request-Id"}}),
    ],
)  # fmt: skip
def test_what_a_route_takes_is_described(
    protocol: Server, method: str, path: str, takes: dict[str, set[str]]
) -> None:
    operation = protocol.get("/openapi.json").json()["paths"][path][method]
    found: dict[str, set[str]] = {}
    for parameter in operation["parameters"]:
        found.setdefault(parameter["in"], set()).add(parameter["name"])
    if "requestBody" in operation:
        found["body"] = set(operation["requestBody"]["content"])
    assert found == takes


def test_what_the_query_says_twice_is_no_secret(protocol: Server) -> None:
    body = {"model_name": "plus-one", "input_data": [[0, 0, 0, 0]]}
    for path, more in (
        ("/inference?version=1&version=2", {"json": body}),
        ("/models/plus-one/load?version=1", {"json": {"version": "2"}}),
        ("/models/plus-one/versions/1?backend=auto&backend=tflite", {}),
    ):
        call = protocol.put if "backend" in path else protocol.post
        assert call(path, **more).status_code == 422
    assert protocol.post("/inference?version=1&version=1", json=body).status_code == 200


def test_every_route_is_described_and_nothing_else(protocol: Server) -> None:
    document = requests.get(protocol.url + "/openapi.json", timeout=30).json()
    assert document["openapi"] == "3.1.0"
    operations = {
        operation["operationId"].rstrip("0123456789")
        for methods in document["paths"].values()
        for operation in methods.values()
        if isinstance(operation, dict)
    }
    assert operations == {endpoint.rstrip("0123456789") for endpoint in OPERATIONS}

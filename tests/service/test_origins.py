"""What a page in a browser gets: of this origin all, of others what CORS_ORIGINS lets them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service import tiny
from tests.service.live import Server

PAGE = "https://page.example"
BODY = {"model_name": "m", "input_data": [[1, 2, 3, 4]]}


@pytest.fixture(scope="module")
def open_to_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("origins")
    with Server(folder, workers=1, CORS_ORIGINS=PAGE) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        yield server


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"Origin": PAGE}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Origin": PAGE, "Sec-Fetch-Site": "same-origin"}, 200),  # a proxy changed Host
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
def test_no_page_from_elsewhere_changes_anything(
    shared: Server, fields: dict[str, str], status: int
) -> None:
    for path in ("/models/pair/load", "/v2/repository/models/pair/load"):
        answer = shared.post(path, headers=fields)
        assert answer.status_code == status, answer.text
        assert "Access-Control-Allow-Origin" not in answer.headers
        if status == 403:
            assert "CORS_ORIGINS" in answer.json()["detail"]
    asked = shared.post("/inference", json=BODY | {"model_name": "plus-one"}, headers=fields)
    assert asked.status_code == 200
    assert "Access-Control-Allow-Origin" not in asked.headers


def test_a_page_that_is_allowed_sees_every_answer(open_to_one: Server) -> None:
    known, other = {"Origin": PAGE}, {"Origin": "https://other.example"}
    for json, status in ((BODY, 200), (BODY | {"model_name": "nobody"}, 404), ({}, 422)):
        answer = open_to_one.post("/inference", json=json, headers=known)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
        assert "Origin" in answer.headers["Vary"]
    assert open_to_one.post("/models/m/load", headers=known).status_code == 200
    assert open_to_one.post("/models/m/load", headers=other).status_code == 403
    hidden = open_to_one.post("/inference", json=BODY, headers=other)
    assert "Access-Control-Allow-Origin" not in hidden.headers


def test_a_browser_may_ask_beforehand(open_to_one: Server) -> None:
    fields = {
        "Origin": PAGE, "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "x-content-sha256",
    }  # fmt: skip
    answer = open_to_one._ask("OPTIONS", "/models/m/versions/2", {"headers": fields})
    assert answer.status_code == 200
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "x-content-sha256"

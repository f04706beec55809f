"""What model.yaml says becomes true at load: in every worker, of every part, without a failure."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.service import tiny
from tests.service.live import ROOT, Load, Server

DIGITS = ROOT / "models" / "digits"
ASKS = 12  # enough of them for every one of two workers


def describe(server: Server, name: str, described: Any) -> None:
    (server.models / name / "model.yaml").write_text(yaml.safe_dump(described))


def everywhere(ask: Callable[[], Any]) -> set[Any]:
    return {ask() for _ in range(ASKS)}


def loaded(server: Server, name: str) -> set[str]:
    versions = server.model(name)["versions"]
    return {version["version"] for version in versions if version["state"] == "ready"}


def change(server: Server, name: str, described: Any, **body: Any) -> requests.Response:
    describe(server, name, described)
    return server.post(f"/models/{name}/load", json=body)


def test_every_part_becomes_true_at_load_and_not_before(tmp_path: Path) -> None:
    """Batching, labels and names of versions; how images are read; the backend and its reason."""
    with Server(tmp_path, workers=2) as server:
        shutil.copytree(DIGITS, server.models / "digits")
        assert server.post("/models/digits/load").status_code == 200
        described = yaml.safe_load((DIGITS / "model.yaml").read_text())
        image = (DIGITS / "example.png").read_bytes()
        tensor = {"name": "image", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": [0] * 64}
        metadata = server.get("/v2/models/digits").json()
        tensor["name"] = metadata["inputs"][0]["name"]
        wanted = [{"name": metadata["outputs"][0]["name"], "parameters": {"classification": 1}}]

        def seen() -> tuple[Any, ...]:
            config = server.get("/v2/models/digits/config").json()
            shown = server.post(
                "/models/digits/infer", data=image, headers={"Content-Type": "image/png"}
            )
            (scores,) = shown.json()["outputs"].values()
            classes = server.post(
                "/v2/models/digits/infer", json={"inputs": [tensor], "outputs": wanted}
            ).json()["outputs"][0]["data"][0]
            named = server.get("/v2/models/digits/versions/stable/ready").status_code
            title = server.model("digits")["title"]
            batching = config.get("dynamic_batching", {}).get("preferred_batch_size")
            return str(batching), tuple(scores["data"][0]), classes.split(":")[-1], named, title

        (before,) = everywhere(seen)
        described |= {
            "title": "another",
            "labels": [f"label-{number}" for number in range(10)],
            "batching": {"max_batch": 4, "preferred": [2, 4]},
            "version_labels": {"stable": "1"},
        }
        described["preprocessing"]["mean"] = 255.0
        described["golden"]["1"]["tolerance"] = 1e9
        describe(server, "digits", described)
        assert everywhere(seen) == {before}
        with Load(lambda: server.get("/v2/models/digits/ready"), threads=2) as load:
            answer = server.post("/models/digits/load")
        assert answer.status_code == 200, answer.text
        assert load.failed() == []
        assert len(answer.json()["actions"][0]["workers"]) == 2
        (after,) = everywhere(seen)
        assert all(new != old for new, old in zip(after, before, strict=True))
        assert after[0] == "[2, 4]"
        assert after[2].startswith("label-")
        # The same again is no change: nothing is loaded anew.
        seconds = server.model("digits")["versions"][0]["load_seconds"]
        assert server.post("/models/digits/load").status_code == 200
        assert server.model("digits")["versions"][0]["load_seconds"] == seconds


def test_what_cannot_be_loaded_so_is_said_and_the_model_goes_on_as_it_was(
    tmp_path: Path,
) -> None:
    with Server(tmp_path, workers=2) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        ask = lambda: server.infer("m", [[0] * 4]).status_code  # noqa: E731
        answer = change(server, "m", {"batching": {"speed": 1}})
        assert answer.status_code == 422
        assert "speed" in answer.json()["detail"]
        assert server.upload("m", "2", tiny.add(2)).status_code == 422
        assert [v["state"] for v in server.model("m")["versions"]] == ["ready"]
        wrong = {"golden": {"1": {"positions": {"y": [0]}, "values": {"y": [9.0]}}}}
        answer = change(server, "m", wrong)
        assert answer.status_code == 422
        assert "golden" in answer.json()["detail"]
        assert everywhere(ask) == {200}
        # A worker that begins anew does not take what is being edited for what was loaded.
        assert change(server, "m", {"title": "right"}).status_code == 200
        describe(server, "m", {"batching": "nonsense"})
        server.stop()
        server.start()
        assert everywhere(ask) == {200}
        assert server.model("m")["title"] == "right"
        assert "Traceback" not in server.text()


POLICIES = {
    "latest": ({"latest": 1}, {"10"}),
    "some": ({"specific": ["1", "2"]}, {"1", "2"}),
    "all": ("all", {"1", "2", "10"}),
}


def test_a_version_policy_becomes_true_at_load(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        for name, (policy, expected) in POLICIES.items():
            for version in ("1", "2", "10"):
                answer = server.upload(name, version, tiny.add(int(version)))
                assert answer.status_code == 200, answer.text
            assert server.post(f"/models/{name}/unload?version=2").status_code == 200
            with Load(lambda name=name: server.infer(name, [[0] * 4]), threads=2) as load:
                assert change(server, name, {"version_policy": policy}).status_code == 200
                server.until(lambda name=name, to=expected: loaded(server, name) == to)
            assert load.failed() == []
            # Who names a version has it loaded, whatever the policy says.
            assert server.post(f"/models/{name}/load?version=2").status_code == 200
            assert loaded(server, name) == expected | {"2"}


def test_a_label_wakes_what_sleeps(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1, IDLE_UNLOAD_S="1") as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        assert change(server, "m", {"version_labels": {"stable": "1"}}).status_code == 200
        server.until(lambda: loaded(server, "m") == set())
        assert server.infer("m", [[0] * 4], version="stable").status_code == 200
        assert server.infer("m", [[0] * 4], version="steady").status_code == 404

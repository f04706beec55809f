"""The file format, the slots and the page: sound whatever is found on disk."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from monitoring import catalogue, dbfile, slots, text
from monitoring.exposition import Exposition
from monitoring.hooks import MetricsConfig, MetricsHooks
from monitoring.ledger import WorkerLedger
from monitoring.merge import Reader
from monitoring.metric import BoundedLabels, Histogram, define

VALUES = st.lists(st.tuples(st.text("abcäß🜁", min_size=1, max_size=40),
                            st.floats(0, 1e12)), max_size=40, unique_by=lambda p: p[0])  # fmt: skip


def key(name: str, metric: str = "x") -> str:
    return json.dumps([metric, f"{metric}_total", {"name": name}, "help"], sort_keys=True)


def write(path: Path, values: list[tuple[str, float]], metric: str = "x") -> None:
    file = MmapedDict(str(path))
    for name, value in values:
        file.write_value(key(name, metric), value, 0.0)
    file.close()


@given(values=VALUES)
@settings(max_examples=40, deadline=None)
def test_what_prometheus_client_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, float]]
) -> None:
    path = tmp_path_factory.mktemp("db") / "counter_0.db"
    write(path, values)
    data = path.read_bytes()
    layout = dbfile.parse(data)
    found = {k.decode(): struct.unpack_from("d", data, at)[0]
             for k, at in zip(layout.keys, layout.offsets, strict=True)}  # fmt: skip
    assert layout.sound
    assert found == {key(name): value for name, value in values}


@given(values=VALUES, damage=st.data())
@settings(max_examples=60, deadline=None)
def test_any_damage_is_mended_and_readable_by_prometheus_client(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, float]], damage: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("db") / "counter_0.db"
    write(path, values)
    data = bytearray(path.read_bytes())
    cut = damage.draw(st.integers(0, 4000), label="cut")
    noise = damage.draw(st.binary(max_size=50), label="noise")
    where = damage.draw(st.integers(0, max(0, cut - 1)), label="where")
    del data[cut:]
    data[where : where + len(noise)] = noise
    path.write_bytes(data)
    dbfile.parse(bytes(data))
    dbfile.mend(path)
    assert dbfile.parse(path.read_bytes()).sound
    assert not dbfile.mend(path)
    file = MmapedDict(str(path))
    file.write_value(key("after"), 1.0, 0.0)
    file.close()


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["monitoring.slots.acquire", "monitoring.dbfile._replace",
                                  "monitoring.ledger.WorkerLedger.started"])  # fmt: skip
def test_a_full_disk_costs_numbers_and_never_the_master(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FULL

    said: list[str] = []
    log = SimpleNamespace(error=lambda text, *parts: said.append(text % parts))
    server = SimpleNamespace(WORKERS={}, num_workers=1, master_pid=0, log=log)
    worker = SimpleNamespace(aborted=False, pid=1)
    hooks = MetricsHooks(MetricsConfig(directory=tmp_path, port=0))
    hooks.on_starting(server)
    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        hooks.pre_fork(server, worker)
        hooks.child_exit(server, worker)
    assert "No space left" in said[0]
    hooks.pre_fork(server, worker)
    assert worker.metrics_slot.number == 0
    assert worker.metrics_slot.is_sound()
    hooks.child_exit(server, worker)


def slot_files(folder: Path, *numbers: int) -> None:
    for number in numbers:
        (folder / f"slot_{number}.lock").touch()


def test_slots_add_up_and_new_records_are_learnt(tmp_path: Path) -> None:
    slot_files(tmp_path, 0, 1)
    reader = Reader(tmp_path)

    def total(name: str) -> float | None:
        samples = {s.labels["name"]: s.value
                   for f in reader.collect() if f.name == "x" for s in f.samples}  # fmt: skip
        return samples.get(name)

    assert total("a") is None
    write(tmp_path / "counter_0.db", [("a", 3)])
    write(tmp_path / "counter_1.db", [("a", 4), ("b", 1)])
    assert (total("a"), total("b")) == (7, 1)
    write(tmp_path / "counter_0.db", [("a", 5), ("b", 2)])
    assert (total("a"), total("b")) == (9, 3)
    (tmp_path / "counter_1.db").unlink()
    assert (total("a"), total("b")) == (5, 2)


@pytest.mark.parametrize("content", [b"", b"\x08", b"\xff" * 100, b"\0" * 65536,
                                     struct.pack("ii", 70000, 0) + b"x" * 500])  # fmt: skip
def test_a_broken_file_hides_nothing_of_the_others(content: bytes, tmp_path: Path) -> None:
    slot_files(tmp_path, 0, 1)
    write(tmp_path / "counter_0.db", [("a", 3)])
    (tmp_path / "counter_1.db").write_bytes(content)
    families = {f.name: f for f in Reader(tmp_path).collect()}
    assert families["x"].samples[0].value == 3
    assert families["rx580_metrics_files"].samples[0].value == 2


HOLD = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from monitoring import slots
slot = slots.acquire(Path(sys.argv[1]))
slot.write(pid=1)
print(slot.number, flush=True)
time.sleep(60)
"""


def test_a_slot_has_one_holder_and_is_free_once_that_is_killed(tmp_path: Path) -> None:
    def hold() -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path],
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    holders = [hold() for _ in range(3)]
    try:
        assert [number for _, number in holders] == [0, 1, 2]
        assert [h.live for h in slots.holders(tmp_path)] == [True, True, True]
        holders[1][0].kill()
        holders[1][0].wait()
        assert [h.live for h in slots.holders(tmp_path)] == [True, False, True]
        mine = slots.acquire(tmp_path)
        assert mine.number == 1
        mine.release()
        assert [h.live for h in slots.holders(tmp_path)] == [True, False, True]
    finally:
        for process, _ in holders:
            process.kill()
            process.communicate()


def test_a_slot_stays_held_by_the_child_when_the_master_lets_go(tmp_path: Path) -> None:
    slot = slots.acquire(tmp_path)
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    os.close(slot.fd)
    assert [h.live for h in slots.holders(tmp_path)] == [True]
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert [h.live for h in slots.holders(tmp_path)] == [False]


@pytest.mark.parametrize("damage", ["", "{", "[1]", "\xff"])
def test_a_damaged_count_of_workers_is_begun_anew(tmp_path: Path, damage: str) -> None:
    ledger = WorkerLedger(tmp_path)
    ledger.started(2)
    (tmp_path / "workers.json").write_text(damage, encoding="latin-1")
    assert ledger.read()["starts"] == 0
    ledger.started(2)
    assert ledger.read()["starts"] == 1


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    assert slots.acquire(folder).number == 0
    WorkerLedger(tmp_path / "gone too").started(2)
    assert WorkerLedger(tmp_path / "gone too").read()["starts"] == 1


def test_the_masters_ledger_is_exact_with_two_masters(tmp_path: Path) -> None:
    code = ("import sys; from pathlib import Path; from monitoring.ledger import WorkerLedger\n"
            "l = WorkerLedger(Path(sys.argv[1]))\n"
            "for _ in range(50): l.started(3); l.exited('killed')")  # fmt: skip
    masters = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(2)]
    assert [master.wait() for master in masters] == [0, 0]
    record = WorkerLedger(tmp_path).read()
    assert (record["starts"], record["exits"]["killed"]) == (100, 100)


@pytest.mark.parametrize("accept", [
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "text/plain", "", "application/json",
])  # fmt: skip
def test_the_page_parses_in_the_format_that_was_asked_for(accept: str, tmp_path: Path) -> None:
    catalogue.HTTP_REQUESTS.labels("GET", "/x", "200").inc()
    catalogue.HTTP_SECONDS.labels("GET", "/x").observe(0.2)
    page, content_type = Exposition(None, tmp_path).page(accept)
    parse = openmetrics if "openmetrics" in accept else plain
    assert content_type.startswith("application/openmetrics" if "openmetrics" in accept else "text")
    names = {family.name for family in parse(page)}
    assert {"rx580_http_request_duration_seconds", "rx580_metrics_collect_seconds"} <= names


def test_merged_files_parse_as_openmetrics(tmp_path: Path) -> None:
    slot_files(tmp_path, 0)
    write(tmp_path / "counter_0.db", [("a", 3), ('quote " and \\ and \n', 1)])
    page, _ = Exposition(tmp_path, tmp_path).page("application/openmetrics-text;version=1.0.0")
    found = {family.name: family for family in openmetrics(page)}
    assert {s.labels["name"] for s in found["x"].samples} == {"a", 'quote " and \\ and \n'}


def test_the_page_says_the_same_as_prometheus_clients_own_encoder(tmp_path: Path) -> None:
    for number in range(5):
        catalogue.HTTP_SECONDS.labels("GET", f"/{number}").observe(number / 3)
    exposition = Exposition(None, tmp_path)
    families = [f for f in exposition.collect() if "collect_seconds" not in f.name]

    class Given:
        def collect(self) -> list[Metric]:
            return families

    def parsed(page: str) -> set[tuple[str, frozenset[tuple[str, str]], float]]:
        return {(s.name, frozenset(s.labels.items()), s.value)
                for f in plain(page) for s in f.samples}  # fmt: skip

    ours, _ = text.render(families, "")
    assert parsed(ours) == parsed(generate_latest(Given()).decode())


def test_a_process_without_a_slot_writes_no_files(tmp_path: Path) -> None:
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    code = "from monitoring import catalogue; catalogue.MODELS_DESIRED.set(1)"
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
    assert list(tmp_path.iterdir()) == []


def test_labels_that_others_choose_are_bounded() -> None:
    first: list[tuple[str, ...]] = []
    labels = BoundedLabels(3, first.append)
    given_ = [labels(str(number % 5), "1") for number in range(20)]
    assert set(given_) == {("0", "1"), ("1", "1"), ("2", "1"), ("other", "other")}
    assert len(first) == 3


def test_a_metric_is_declared_once_and_named_by_the_rules() -> None:
    from prometheus_client import Counter, Gauge

    with pytest.raises(ValueError, match="declared twice"):
        define(Counter, "rx580_http_requests_total", "again")
    with pytest.raises(ValueError, match="counters, and nothing else, end in _total"):
        define(Counter, "rx580_things", "no suffix")
    with pytest.raises(ValueError, match="mode 'all' is not one of"):
        define(Gauge, "rx580_inherited", "dead holders would speak", mode="all")
    catalogue.CATALOGUE.pop("rx580_inherited", None)


@given(st.sampled_from([0.0, 0.1, 0.10001, 1.0, 7.0, 1e9]), st.integers(0, 50))
def test_one_observation_many_times_is_counted_like_each(amount: float, times: int) -> None:
    registries = [CollectorRegistry(), CollectorRegistry()]
    at_once, one_by_one = [
        Histogram("h", "help", buckets=(0.1, 1.0, 7.0), registry=registry)
        for registry in registries
    ]
    at_once.observe_each(amount, times)
    for _ in range(times):
        one_by_one.observe(amount)
    first, second = [
        {(sample.name, sample.labels.get("le")): sample.value
         for family in registry.collect() for sample in family.samples
         if not sample.name.endswith("_created")}
        for registry in registries
    ]  # fmt: skip
    assert first == pytest.approx(second)

"""The metric files of all slots, added up. Cheap: layouts are remembered, values are vectors."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from prometheus_client.core import Metric

from monitoring import catalogue, dbfile, slots
from monitoring.metric import family

Labels = tuple[tuple[str, str], ...]

_COMBINE: dict[str, np.ufunc] = {
    "gauge_livemax": np.maximum,
    "gauge_livesum": np.add,
    "gauge_liveall": np.maximum,
    "counter": np.add,
    "histogram": np.add,
}


@dataclass
class _Group:
    """The series of one histogram with the same labels."""

    labels: dict[str, str]
    edges: list[tuple[float, int, dict[str, str]]] = field(default_factory=list)
    sum_id: int = -1


@dataclass
class _Family:
    """The series of one metric, by their ids."""

    name: str
    help: str
    kind: str
    single: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    groups: dict[Labels, _Group] = field(default_factory=dict)


@dataclass
class _File:
    """What is known of a file between scrapes: where its values are and which series they are."""

    inode: int
    end: int = dbfile.HEADER
    sound: bool = True
    ids: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)


class Reader:
    """Reads and adds up the files of one directory, again and again.

    Not thread-safe. Never fails on a missing, empty or damaged file: it counts what is readable.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[Path, _File] = {}
        self._ids: dict[tuple[str, str, bytes], int] = {}
        self._known: dict[str, _Family] = {}

    def collect(self) -> Iterator[Metric]:
        """Give every family with the values of all slots, then the figures of the files."""
        contents = list(self._read())
        totals = np.full(len(self._ids), np.nan)
        for prefix, known, data in contents:
            if known.ids:
                values = _vector(data)[np.asarray(known.offsets) // 8]
                ids = np.asarray(known.ids)
                seen = totals[ids]
                totals[ids] = np.where(np.isnan(seen), values, _COMBINE[prefix](seen, values))
        yield from self._families(totals.tolist())
        used = sum(known.end for _, known, _ in contents)
        broken = sum(not known.sound for _, known, _ in contents)
        yield family(catalogue.FILES, [((), len(contents))])
        yield family(catalogue.FILE_BYTES, [((), used)])
        yield family(catalogue.FILES_BROKEN, [((), broken)])

    def _read(self) -> Iterator[tuple[str, _File, bytes]]:
        for holder in slots.holders(self._directory):
            for prefix in slots.PREFIXES:
                if prefix.startswith("gauge_") and not holder.live:
                    continue
                path = self._directory / f"{prefix}_{holder.number}.db"
                try:
                    inode, data = _used_part(path)
                except FileNotFoundError:
                    continue
                worker = str(holder.number) if prefix == "gauge_liveall" else ""
                yield prefix, self._learn(path, inode, prefix, worker, data), data

    def _learn(self, path: Path, inode: int, prefix: str, worker: str, data: bytes) -> _File:
        known = self._files.get(path)
        if known is None or known.inode != inode or known.end > len(data):
            known = self._files[path] = _File(inode)
        layout = dbfile.parse(data, known.end)
        known.ids += [self._id(prefix, worker, key) for key in layout.keys]
        known.offsets += layout.offsets
        known.end, known.sound = layout.end, layout.sound
        return known

    def _id(self, prefix: str, worker: str, key: bytes) -> int:
        found = self._ids.get((prefix, worker, key))
        if found is None:
            found = self._ids[(prefix, worker, key)] = len(self._ids)
            self._place(found, prefix.partition("_")[0], worker, key)
        return found

    def _place(self, number: int, kind: str, worker: str, key: bytes) -> None:
        metric, name, labels, help_text = json.loads(key)
        if worker:
            labels["worker"] = worker
        family = self._known.setdefault(metric, _Family(metric, help_text, kind))
        if kind != "histogram":
            family.single.append((number, name, labels))
            return
        rest = {label: value for label, value in labels.items() if label != "le"}
        group = family.groups.setdefault(tuple(rest.items()), _Group(rest))
        if "le" in labels:
            group.edges.append((float(labels["le"]), number, labels))
            group.edges.sort(key=lambda edge: edge[0])
        else:
            group.sum_id = number

    def _families(self, totals: list[float]) -> Iterator[Metric]:
        for known in self._known.values():
            made = Metric(known.name, known.help, known.kind)
            for number, name, labels in known.single:
                value = totals[number]
                if value == value:  # else it is only in files that are gone
                    made.add_sample(name, labels, value)
            for group in known.groups.values():
                _add_histogram(made, group, totals)
            if made.samples:
                yield made


def _add_histogram(metric: Metric, group: _Group, totals: list[float]) -> None:
    total = 0.0
    name = metric.name + "_bucket"
    counts = [totals[number] for _, number, _ in group.edges]
    if all(count != count for count in counts):
        return  # it is only in files that are gone
    for count, (_, _, labels) in zip(counts, group.edges, strict=True):
        total += count if count == count else 0.0
        metric.add_sample(name, labels, total)
    metric.add_sample(metric.name + "_count", group.labels, total)
    amount = totals[group.sum_id] if group.sum_id >= 0 else 0.0
    metric.add_sample(metric.name + "_sum", group.labels, amount)


def _used_part(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        inode = os.fstat(file.fileno()).st_ino
        data = file.read(4096)
        used = struct.unpack_from("i", data)[0] if len(data) >= 4 else 0
        if used > len(data):
            data += file.read(used - len(data))
    return inode, data[: max(used, dbfile.HEADER)]


def _vector(data: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(data[: len(data) // 8 * 8], np.float64)

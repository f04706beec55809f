"""The metric files of all slots, added up. Cheap: layouts are remembered, values are vectors."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from prometheus_client.core import Metric

from monitoring import catalogue, dbfile, slots
from monitoring.metric import family

_COMBINE: dict[str, np.ufunc] = {
    "gauge_livemax": np.maximum,
    "gauge_livesum": np.add,
    "gauge_liveall": np.maximum,
    "counter": np.add,
    "histogram": np.add,
}


@dataclass(frozen=True)
class Series:
    """One sample name with its labels, and how its values in several files become one."""

    prefix: str
    family: str
    name: str
    help: str
    labels: tuple[tuple[str, str], ...]


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
        self._series: list[Series] = []

    def collect(self) -> Iterator[Metric]:
        """Give every family with the values of all slots, then the figures of the files."""
        contents = list(self._read())
        totals = np.full(len(self._series), np.nan)
        for prefix, known, data in contents:
            if known.ids:
                values = _vector(data)[np.asarray(known.offsets) // 8]
                ids = np.asarray(known.ids)
                seen = totals[ids]
                totals[ids] = np.where(np.isnan(seen), values, _COMBINE[prefix](seen, values))
        yield from self._families(totals)
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
            metric, name, labels, help_text = json.loads(key)
            extra = {"worker": worker} if worker else {}
            pairs = tuple(sorted((labels | extra).items()))
            found = self._ids[(prefix, worker, key)] = len(self._series)
            self._series.append(Series(prefix, metric, name, help_text, pairs))
        return found

    def _families(self, totals: npt.NDArray[np.float64]) -> Iterator[Metric]:
        metrics: dict[str, Metric] = {}
        buckets: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, float]]] = {}
        for series, value in zip(self._series, totals.tolist(), strict=True):
            if value != value:  # only in files that are gone
                continue
            kind = series.prefix.partition("_")[0]
            if series.family not in metrics:
                metrics[series.family] = Metric(series.family, series.help, kind)
            if series.name.endswith("_bucket") and kind == "histogram":
                rest = tuple(pair for pair in series.labels if pair[0] != "le")
                edge = float(dict(series.labels)["le"])
                buckets.setdefault((series.family, rest), []).append((edge, value))
            else:
                metrics[series.family].add_sample(series.name, dict(series.labels), value)
        for (name, labels), edges in buckets.items():
            _add_histogram(metrics[name], dict(labels), sorted(edges))
        yield from metrics.values()


def _add_histogram(
    metric: Metric, labels: dict[str, str], edges: Iterable[tuple[float, float]]
) -> None:
    total = 0.0
    for edge, value in edges:
        total += value
        metric.add_sample(metric.name + "_bucket", labels | {"le": _edge(edge)}, total)
    metric.add_sample(metric.name + "_count", labels, total)


def _edge(value: float) -> str:
    # As prometheus_client writes them: 0.1, 1.0, +Inf.
    return "+Inf" if value == float("inf") else repr(value)


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

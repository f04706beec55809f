"""What the Open Inference Protocol says about a server and its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.tensors import TensorSpec
from app.wire.dtypes import of_numpy

# Exactly what is implemented; clients look here before they use an extension.
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
)


@dataclass(frozen=True, slots=True)
class BatchingConfig:
    """The batching that a model's configuration shows.

    joined tells whether requests of several callers are run together.

    Units: max_batch in items, 0 for a model without a batch dimension; max_delay in seconds.
    """

    max_batch: int = 0
    preferred: tuple[int, ...] = ()
    max_delay: float = 0.0
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something happened and how long it took in all.

    Units: ns in nanoseconds.
    """

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one model version has done since the server started.

    Units: last_inference in milliseconds since the epoch; durations' keys are Triton's
           ("success", "fail", "queue", "compute_input", ...), batches' are batch sizes.
    """

    name: str
    version: str
    last_inference: int = 0
    inference_count: int = 0
    execution_count: int = 0
    durations: Mapping[str, Duration] = field(default_factory=dict)
    batches: Mapping[int, Duration] = field(default_factory=dict)


DURATIONS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)


def server(name: str, version: str) -> dict[str, Any]:
    """Describe the server: GET /v2."""
    return {"name": name, "version": version, "extensions": list(EXTENSIONS)}


def metadata(
    name: str,
    versions: Sequence[str],
    platform: str,
    inputs: Iterable[TensorSpec],
    outputs: Iterable[TensorSpec],
    batched: bool,
) -> dict[str, Any]:
    """Describe a model: GET /v2/models/{name}.

    Shapes: a batched model's first dimension is written as -1.
    """
    return {
        "name": name,
        "versions": list(versions),
        "platform": platform,
        "inputs": [_tensor(spec, batched) for spec in inputs],
        "outputs": [_tensor(spec, batched) for spec in outputs],
    }


def _tensor(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    shape = [-1, *spec.shape[1:]] if batched else list(spec.shape)
    return {
        "name": spec.name,
        "datatype": of_numpy(spec.dtype, spec.name).wire,
        "shape": shape,
    }


def config(
    name: str,
    platform: str,
    backend: str,
    inputs: Iterable[TensorSpec],
    outputs: Iterable[TensorSpec],
    batching: BatchingConfig,
    versions: Mapping[str, Any],
    instances: int = 1,
) -> dict[str, Any]:
    """Describe a model's configuration in the names of Triton's ModelConfig.

    Shapes: dims leave the batch dimension out where max_batch_size is above 0.
    """
    batched = batching.max_batch > 0
    kind = "KIND_GPU" if backend == "opencl" else "KIND_CPU"
    shown: dict[str, Any] = {
        "name": name,
        "platform": platform,
        "backend": backend,
        "version_policy": dict(versions),
        "max_batch_size": batching.max_batch,
        "input": [_dims(spec, batched) | {"format": "FORMAT_NONE"} for spec in inputs],
        "output": [_dims(spec, batched) | {"label_filename": ""} for spec in outputs],
        "instance_group": [{"name": name, "kind": kind, "count": instances, "gpus": []}],
        "default_model_filename": "model.tflite",
        "parameters": {},
    }
    if batching.joined:
        shown["dynamic_batching"] = {
            "preferred_batch_size": list(batching.preferred),
            "max_queue_delay_microseconds": round(batching.max_delay * 1e6),
        }
    return shown


def _dims(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    return {
        "name": spec.name,
        "data_type": of_numpy(spec.dtype, spec.name).config,
        "dims": list(spec.shape[1:] if batched else spec.shape),
    }


def statistics(models: Iterable[Statistics]) -> dict[str, Any]:
    """Write statistics: GET /v2/models[/{name}]/stats."""
    return {"model_stats": [_stats(model) for model in models]}


def _stats(model: Statistics) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": model.last_inference,
        "inference_count": model.inference_count,
        "execution_count": model.execution_count,
        "inference_stats": {
            key: _duration(model.durations.get(key, Duration())) for key in DURATIONS
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _duration(Duration(spent.count, 0)),
                "compute_infer": _duration(spent),
                "compute_output": _duration(Duration(spent.count, 0)),
            }
            for size, spent in sorted(model.batches.items())
        ],
        "memory_usage": [],
    }


def _duration(spent: Duration) -> dict[str, int]:
    return {"count": spent.count, "ns": spent.ns}


def index_entry(name: str, version: str, state: str, reason: str) -> dict[str, str]:
    """Write one model version of the index: POST /v2/repository/index.

    Source: Triton's states, UNKNOWN, READY, UNAVAILABLE, LOADING and UNLOADING.
    """
    return {"name": name, "version": version, "state": state, "reason": reason}

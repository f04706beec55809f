"""Every setting of the server: one frozen object, read from the environment once.

The table in the README is printed by `python -m app.settings` and compared by a test.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import SettingsError
from app.setting_kinds import FOLDER, HOST, ORIGINS, TEXT, Kind, choice, integer, number


def _default_cache() -> Path:
    return Path(os.path.expanduser("~/.cache"), "rx580-inference")


def setting(default: Any, kind: Kind, about: str, shown: str | None = None) -> Any:
    """Declare one setting: default, what is allowed, and one line for the README."""
    metadata = {"kind": kind, "about": about, "shown": shown}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the server is told from outside; the environment variable is the name in capitals."""

    host: str = setting("127.0.0.1", HOST, "Address to listen on; 0.0.0.0 for every interface.")
    port: int = setting(8000, integer(0, 65535), "Port to listen on; 0 takes a free one.")
    workers: int = setting(3, integer(1, 256), "Worker processes.")
    threads: int = setting(
        16, integer(1, 256), "Request threads of each worker: more than may wait for one model."
    )
    models_dir: Path = setting(Path("models").absolute, FOLDER, "The model repository.", "models")
    state_dir: Path = setting(
        Path("var/state").absolute, FOLDER,
        "Where the desired state is kept (SQLite); must be on a local disk.", "var/state",
    )  # fmt: skip
    cache_dir: Path = setting(
        _default_cache, FOLDER, "Downloads and compiled kernels.", "~/.cache/rx580-inference"
    )
    backend: str = setting(
        "auto", choice("auto", "tflite", "opencl"),
        "Backend of models that do not choose one; auto takes OpenCL if its device is there.",
    )  # fmt: skip
    opencl_device: str = setting(
        "auto", TEXT, "Pattern over the device's name, board, vendor and driver, or a PCI bus id."
    )
    precision: str = setting(
        "fp32", choice("fp32", "fp16-storage"),
        "How the card keeps weights and activations of models that do not say: fp16-storage takes "
        "half the memory.",
    )  # fmt: skip
    tflite_runtime: str = setting(
        "auto", choice("auto", "tflite-runtime", "ai-edge-litert"),
        "CPU runtime; auto takes the one that runs the model and is faster.",
    )  # fmt: skip
    interpreter_threads: int = setting(1, integer(1, 64), "Threads inside one CPU interpreter.")
    interpreters: int = setting(
        2, integer(1, 64), "CPU interpreters of one model in one worker, so many run at once."
    )
    load_on_start: str = setting(
        "all", choice("all", "none"), "Whether a model found on disk for the first time is loaded."
    )
    max_body_mb: float = setting(64.0, number(0.001, 65536), "Largest request body, in MB.")
    max_model_mb: float = setting(512.0, number(0.001, 65536), "Largest .tflite taken, in MB.")
    max_image_megapixels: float = setting(
        64.0, number(0.001, 1000),
        "Largest image decoded, in millions of pixels; what a worker decodes at one time has no "
        "more together.",
    )  # fmt: skip
    request_timeout_s: float = setting(
        30.0, number(0.001, 3600),
        "Time a request has when it does not say less in X-Request-Timeout.",
    )  # fmt: skip
    queue_per_model: int = setting(
        8, integer(0, 100000), "Requests of one worker that may wait for one model; then 503."
    )
    queue_wait_s: float = setting(
        0.03, number(0, 3600),
        "More may wait while their wait is expected to stay below this; 0 for never.",
    )  # fmt: skip
    queue_per_worker: int = setting(
        512, integer(1, 100000), "Requests that one worker has in all, running or waiting."
    )
    queue_mb: float = setting(
        512.0, number(0.001, 1e6),
        "Inputs that one worker holds for them, in MB; as much again of answers not read yet.",
    )  # fmt: skip
    requests_per_caller: int = setting(
        0, integer(0, 100000),
        "Requests that one caller may have in one worker at once, then 429; 0 for no quota.",
    )  # fmt: skip
    idle_unload_s: float = setting(
        0.0, number(0, 1e9),
        "Seconds without a request after which a model is unloaded until the next; 0 for never.",
    )  # fmt: skip
    vram_mb: float = setting(
        0.0, number(0, 1e9),
        "Device memory that all workers together may hold, in MB; 0 for nine tenths of the card's.",
    )  # fmt: skip
    evict_idle_s: float = setting(
        0.0, number(0, 1e9),
        "Seconds a model must be unused before another may take its device memory; 0 for never.",
    )  # fmt: skip
    evict_keep: int = setting(
        1, integer(0, 100000), "Models that stay on the card whatever wants their memory."
    )
    device_timeout_s: float = setting(
        30.0, number(0.01, 3600), "Time one run on the device may take before it counts as hung."
    )
    verify_period_s: float = setting(
        60.0, number(0, 1e6),
        "Seconds between golden checks of each model on the device; 0 for none.",
    )  # fmt: skip
    shadow_share: float = setting(
        0.0, number(0, 1), "Share of live requests that the CPU computes too, to compare."
    )
    device_restarts: int = setting(
        3, integer(1, 1000), "Device failures within the window after which the CPU takes over."
    )
    device_restart_window_s: float = setting(
        600.0, number(1, 1e6), "That window in seconds, over all workers."
    )
    cache_mb: float = setting(
        0.0, number(0, 1e6), "Answers that each worker keeps for equal requests, in MB; 0 for none."
    )
    action_timeout_s: float = setting(
        30.0, number(0.001, 3600),
        "How long load, unload, upload and delete wait for every worker before they answer 202.",
    )  # fmt: skip
    start_timeout_s: float = setting(
        120.0, number(0, 3600), "How long a new worker loads models before it takes traffic anyway."
    )
    sandbox_timeout_s: float = setting(
        20.0, number(0.1, 3600), "Time that the check of one model may take."
    )
    sandbox_memory_mb: int = setting(
        4096, integer(256, 1048576), "Address space that the check of one model may take, in MB."
    )
    graceful_timeout_s: int = setting(
        30, integer(1, 3600), "Time that running requests have when a worker stops."
    )
    max_requests: int = setting(
        0, integer(0, 10**9), "Requests after which a worker is replaced; 0 for never."
    )
    keepalive_s: int = setting(15, integer(0, 3600), "Seconds an idle connection stays open.")
    heartbeat_s: float = setting(
        0.05, number(0.005, 60), "How often a worker looks for changes of the desired state."
    )
    cors_origins: str = setting(
        "none", ORIGINS, "Web pages of these other origins may use the API from a browser."
    )
    metrics_host: str = setting("127.0.0.1", HOST, "Address of the metrics exporter.")
    metrics_port: int = setting(
        9101, integer(0, 65535), "Port of the metrics exporter; 0 for none."
    )
    sysfs_dir: Path = setting(
        Path("/sys"), FOLDER, "Where the card's sensors are looked for.", "/sys"
    )
    log_level: str = setting(
        "info", choice("debug", "info", "warning", "error"), "Least severe line that is logged."
    )
    log_format: str = setting(
        "auto", choice("auto", "json", "pretty"), "auto is pretty on a terminal, else JSON."
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment.

        Raises: SettingsError that names the first bad variable, its value and what is allowed.
        """
        values: dict[str, Any] = {}
        for item in dataclasses.fields(cls):
            text = environ.get(item.name.upper())
            if text is None or text == "":
                continue
            kind: Kind = item.metadata["kind"]
            try:
                values[item.name] = kind.read(text)
            except (ValueError, KeyError, RuntimeError, OverflowError):
                raise SettingsError(
                    f"{item.name.upper()}={text!r} is not allowed: it must be {kind.allowed}"
                ) from None
        return cls(**values)

    @property
    def origins(self) -> tuple[str, ...]:
        """CORS_ORIGINS one by one; "*" stands for all."""
        return () if self.cors_origins == "none" else tuple(self.cors_origins.split(","))

    @property
    def max_body_bytes(self) -> int:
        return int(self.max_body_mb * 1e6)

    @property
    def max_model_bytes(self) -> int:
        return int(self.max_model_mb * 1e6)


def table() -> str:
    """Write the README's table of settings."""
    rows = ["| Variable | Default | Allowed | Meaning |", "|---|---|---|---|"]
    for item in dataclasses.fields(Settings):
        kind: Kind = item.metadata["kind"]
        default = item.metadata["shown"] or str(item.default)
        about = item.metadata["about"]
        rows.append(f"| `{item.name.upper()}` | `{default}` | {kind.allowed} | {about} |")
    return "\n".join(rows)


def _write(path: Path) -> None:
    """Put the table between the README's marks."""
    text = path.read_text(encoding="utf-8")
    head, mark, rest = text.partition("app.settings -->\n")
    _, end, tail = rest.partition("<!-- /settings -->")
    path.write_text(f"{head}{mark}{table()}\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        _write(Path(sys.argv[2]))
    else:
        print(table())

"""Log lines: one JSON object each, or something pleasant to read on a terminal."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {"ERROR": "\033[31m", "CRITICAL": "\033[31m", "WARNING": "\033[33m"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line; whatever was passed as extra becomes a field."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class PrettyFormatter(logging.Formatter):
    """Time, level, message and the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, more if there is a traceback."""
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        colour = _COLOURS.get(record.levelname, "")
        fields = " ".join(f"{key}={value}" for key, value in _extra(record).items())
        text = f"{clock} {record.process} {colour}{record.getMessage()}\033[0m {fields}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {
        key: value
        for key, value in vars(record).items()
        if key not in _STANDARD and not key.startswith("_") and value is not None
    }


def config(level: str, style: str) -> dict[str, Any]:
    """Make the configuration for logging.config.dictConfig, gunicorn's loggers included."""
    pretty = style == "pretty" or (style == "auto" and sys.stderr.isatty())
    formatter = PrettyFormatter if pretty else JsonFormatter
    loggers = ("app", "gunicorn.error")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": f"{formatter.__module__}.{formatter.__name__}"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            name: {"level": level.upper(), "handlers": ["stderr"], "propagate": False}
            for name in loggers
        },
    }

"""Logs as JSON: one object for each line on standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from datetime import datetime, timezone
from typing import Any

# Loggers whose own handlers write plain lines.
_OTHERS = ("transformers", "manyheads.progress")


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON.

    A record's ``fields`` become keys. An exception becomes its class and the places of its stack, without its message,
    which may quote a text.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": os.getpid(),
            "message": " ".join(record.getMessage().split()),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= _exception(record.exc_info[1])
        return json.dumps({key: value for key, value in line.items() if value is not None}, default=str)


def log_as_json() -> None:
    """Write the logs of this process as JSON, warnings of Python included, and those of other packages."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("manyheads").setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in _OTHERS:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True


def _exception(error: BaseException) -> dict[str, Any]:
    """Return the classes of an exception and of its causes, and the stack of the first cause."""
    errors = [error]
    while errors[-1].__cause__ is not None:
        errors.append(errors[-1].__cause__)
    return {
        "exception": type(error).__name__,
        "causes": [type(cause).__name__ for cause in errors[1:]] or None,
        "stack": [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in _frames(errors[-1])],
    }


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__))

"""The server's log: events with fields, one line each, on standard error. Access records are ``records``."""

from __future__ import annotations

import json
import logging
import sys

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class EventFormatter(logging.Formatter):
    """``LEVEL logger event field=value ...``; values with spaces or control characters are quoted as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        fields = [f"{key}={shown(value)}" for key, value in vars(record).items() if key not in STANDARD]
        line = " ".join((record.levelname, record.name, record.getMessage(), *fields))
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


def shown(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and " " not in text and '"' not in text and text
    return text if plain else json.dumps(text, ensure_ascii=False)


def configure_logging() -> None:
    """For processes that are ours; an application that mounts the gateway keeps its own logging."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)

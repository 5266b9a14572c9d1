# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The logging configuration of the service, of gunicorn and of the download process.

Logs are lines of text or JSON on stderr, and also in LOG_FILE if it is set: a rotating file that
several processes write to. Each line contains the id of its request.
"""

from __future__ import annotations

import logging
import logging.config
from contextvars import ContextVar
from typing import Any

from config.settings import Settings

request_id: ContextVar[str] = ContextVar("request_id", default="-")

_TEXT = "%(asctime)s %(levelname)s %(process)d [%(request_id)s] %(name)s %(message)s"
_JSON = "%(asctime)s %(levelname)s %(process)d %(request_id)s %(name)s %(message)s"


class RequestIdFilter(logging.Filter):
    """Adds the attribute ``request_id`` to each log record; "-" outside a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        record.request_id = request_id.get()
        return True


def logging_dict(settings: Settings) -> dict[str, Any]:
    """The configuration for ``logging.config.dictConfig`` and gunicorn's ``logconfig_dict``."""
    common = {"formatter": "line", "filters": ["request_id"]}
    handlers: dict[str, Any] = {"stderr": {"class": "logging.StreamHandler", **common}}
    if settings.log_file is not None:
        handlers["file"] = {
            # The standard library's rotating handler loses lines when several processes rotate.
            "class": "concurrent_log_handler.ConcurrentRotatingFileHandler",
            "filename": str(settings.log_file),
            "maxBytes": settings.log_max_bytes,
            "backupCount": settings.log_backup_count,
            **common,
        }
    line: dict[str, Any] = {"format": _TEXT}
    if settings.log_json_format:
        line = {"()": "pythonjsonlogger.json.JsonFormatter", "fmt": _JSON}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestIdFilter}},
        "formatters": {"line": line},
        "handlers": handlers,
        "root": {"level": settings.log_level, "handlers": list(handlers)},
        "loggers": {
            # Replace gunicorn's own handlers: its records go to the handlers of the root logger.
            "gunicorn.error": {"level": settings.log_level, "handlers": [], "propagate": True},
            # This is off, because the service logs its own, more detailed line for each request.
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
            # Hides the line for each request to the hub; the download process logs its progress.
            "httpx2": {"level": "WARNING"},
        },
    }


def configure_logging(settings: Settings) -> None:
    """Configure logging in a process that gunicorn does not configure."""
    logging.config.dictConfig(logging_dict(settings))

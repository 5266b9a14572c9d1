# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Logging: one way for the service, gunicorn and the download process.

Text or JSON lines on stderr, and to a rotating file that several processes may write to. Each line
bears the id of the request that it belongs to.
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
    """Adds ``request_id`` to each record; "-" outside a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        record.request_id = request_id.get()
        return True


def logging_dict(settings: Settings) -> dict[str, Any]:
    """The configuration for logging.config.dictConfig; gunicorn takes it as logconfig_dict."""
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
            # gunicorn gives its loggers handlers of their own; they shall come through the root.
            "gunicorn.error": {"level": settings.log_level, "handlers": [], "propagate": True},
            # Our own line about each request says more.
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
            # A line for each request to the hub; the download process says what matters.
            "httpx2": {"level": "WARNING"},
        },
    }


def configure_logging(settings: Settings) -> None:
    """Configure this process, where gunicorn does not do it."""
    logging.config.dictConfig(logging_dict(settings))

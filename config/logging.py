# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Logging: one format for the service, gunicorn and the download process, on stderr."""

from __future__ import annotations

import logging.config
from typing import Any

from config.settings import Settings

_FIELDS = "%(asctime)s %(levelname)s %(process)d %(name)s %(message)s"


def logging_dict(settings: Settings) -> dict[str, Any]:
    """The configuration for logging.config.dictConfig; gunicorn takes it as logconfig_dict."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"text": {"format": _FIELDS}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "text"}},
        "root": {"level": settings.log_level, "handlers": ["stderr"]},
        # gunicorn's own configuration gives its loggers handlers; ours come through the root.
        "loggers": {
            **{
                name: {"level": settings.log_level, "handlers": [], "propagate": True}
                for name in ("gunicorn.error", "gunicorn.access")
            },
            # A line for each request to the hub; the download process says what matters.
            "httpx2": {"level": "WARNING"},
        },
    }


def configure_logging(settings: Settings) -> None:
    """Configure this process, where gunicorn does not do it."""
    logging.config.dictConfig(logging_dict(settings))

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The settings in force while the service runs, and their reload at SIGHUP."""

from __future__ import annotations

import logging
import os

from config.settings import (
    Settings,
    SettingsError,
    load_settings,
    load_settings_or_exit,
    warnings,
)

log = logging.getLogger("twinlens.settings")

# A reload cannot change these, because open sockets, the shared memory and the jobs of workers that
# still run depend on them.
_NEED_RESTART = (
    "ai_service_port",
    "image_embedder_port",
    "image_embedder_host",
    "web_concurrency",
    "jobs_folder",
)
_in_force: Settings | None = None
# A copy of the environment at the start. Later the service sets further variables for libraries.
_environ: dict[str, str] = {}


def settings_in_force(reload: bool = False) -> Settings:
    """Load the settings at the first call; later calls return the same object.

    Args:
        reload: load them again, because CONFIG_FILE may have changed. If they have mistakes, these
            are logged and the old settings stay. Settings that only a restart can change keep their
            values.

    Raises:
        SystemExit: status 78, the settings have mistakes at the first call.
    """
    global _in_force
    if _in_force is None:
        _environ.update(os.environ)
        _in_force = load_settings_or_exit()
    elif reload:
        try:
            fresh = load_settings(_environ)
        except SettingsError as error:
            log.error("the running settings stay in force:\n%s", error)
            return _in_force
        log_warnings()
        stay = {name: getattr(_in_force, name) for name in _NEED_RESTART}
        for name, value in stay.items():
            if getattr(fresh, name) != value:
                log.warning("%s: only a restart changes it", name.upper())
        _in_force = fresh.model_copy(update=stay)
    return _in_force


def log_warnings() -> None:
    """Log a warning for each setting without effect. Call this after logging is configured."""
    for line in warnings(_environ or os.environ):
        log.warning("%s", line)

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The settings in force while the service runs, also across reloads (SIGHUP)."""

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

# Sockets and shared memory were made for these.
_NEED_RESTART = (
    "ai_service_port",
    "image_embedder_port",
    "image_embedder_host",
    "web_concurrency",
)
_in_force: Settings | None = None
# As the operator gave it: the service changes its own, for the libraries that it uses.
_environ: dict[str, str] = {}


def settings_in_force(reload: bool = False) -> Settings:
    """At first: the settings, or the end with the mistakes (exit status 78).

    Args:
        reload: read them again. CONFIG_FILE may have changed; if it has a mistake, the log names
            it and everything stays as it is. What only a restart can change stays, too.
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
    """Log what is set and has no effect; once logging is configured."""
    for line in warnings(_environ or os.environ):
        log.warning("%s", line)

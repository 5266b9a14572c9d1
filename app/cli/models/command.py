# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the actions of ``python -m app models``."""

from __future__ import annotations

import argparse

from app.cli.models.adding import add
from app.cli.models.listing import list_models
from app.cli.models.removing import remove
from app.cli.problems import UsageError
from app.cli.session import Stop, quiet
from config.logging import configure_logging
from config.models import ModelSpec
from config.names import key_hint
from config.settings import Settings, load_settings


def manage_models(arguments: argparse.Namespace, stop: Stop) -> bool:
    """Run the action that the arguments name; return False only if a check found differences.

    Raises:
        SettingsError, UsageError, Failed, AddingError, Interrupted.
    """
    settings = quiet(load_settings())
    configure_logging(settings)
    action = arguments.action
    if action == "list":
        list_models(settings, arguments.json)
    elif action == "add":
        add(arguments, settings)
    elif action == "remove":
        remove(arguments, _spec(arguments.key, settings), settings)
    else:
        from app.cli.models.checking import check  # here, because it imports many libraries

        return check(arguments, _spec(arguments.key, settings), stop)
    return True


def _spec(key: str, settings: Settings) -> ModelSpec:
    """The row of the model with this key. Raises UsageError."""
    known = {spec.key: spec for spec in settings.table().model}
    if key not in known:
        raise UsageError(f"unknown: {key!r}{key_hint(key, known)}; known: {', '.join(known)}")
    return known[key]

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Exceptions that end a command early."""

from __future__ import annotations


class UsageError(Exception):
    """The command was called wrongly and has done nothing. Exit status 2."""


class Failed(Exception):
    """The command cannot go on; results so far are kept. Exit status 1."""


class Interrupted(Exception):
    """The user asked to stop. Exit status 130 after Ctrl-C, 143 after SIGTERM."""

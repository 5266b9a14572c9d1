# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Why a model cannot be added to the table, or a row of it cannot be changed."""

from __future__ import annotations


class AddingError(Exception):
    """A row cannot be added or changed.

    Args:
        message: for the operator; may contain paths of the host.
        public: for clients, without paths; default: the message itself.
    """

    def __init__(self, message: str, public: str | None = None) -> None:
        super().__init__(message)
        self.public = message if public is None else public


class NotUsable(AddingError):
    """No family can use the checkpoint, or there is none under this name."""


class HubFailed(AddingError):
    """The hub cannot be reached or does not answer as it should; it may work later."""


class KeyTaken(AddingError):
    """The file has a row with this key already."""


class TableFull(AddingError):
    """The file has as many rows as may be added."""


class FileFailed(AddingError):
    """The file with the rows cannot be read or written."""

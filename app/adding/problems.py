# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Errors for models that cannot be added to the table, and rows that cannot be changed."""

from __future__ import annotations


class AddingError(Exception):
    """A row cannot be added or changed.

    Args:
        message: the text for the operator, which may contain paths of the host.
        public: the text for clients, without paths; None: the same as the message.
    """

    def __init__(self, message: str, public: str | None = None) -> None:
        super().__init__(message)
        self.public = message if public is None else public


class NotUsable(AddingError):
    """No family can use the checkpoint, or no checkpoint has this name."""


class HubFailed(AddingError):
    """The hub cannot be reached, or does not answer as it should; a later attempt may succeed."""


class KeyTaken(AddingError):
    """The file already has a row with this key."""


class TableFull(AddingError):
    """The file already has the largest permitted number of rows."""


class FileFailed(AddingError):
    """The file with the rows cannot be read or written."""

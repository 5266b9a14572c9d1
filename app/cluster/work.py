# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What the actors of a cluster need to know of a command; app/cli has the commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.library.items import Item
from app.library.rows import Row, Schema
from app.runtime import Runtime
from config.families import Task
from config.models import ModelSpec


class Command(Protocol):
    """What is done to each picture. It is sent to the actors, so it has to be picklable."""

    task: Task

    def schema(self, runtime: Runtime, spec: ModelSpec) -> Schema:
        """Columns of the rows; the model is loaded."""

    def work(self, item: Item, runtime: Runtime, spec: ModelSpec) -> Row | None:
        """The row of a picture, with its result or its error; None if it is no picture.

        Raises:
            TwinlensError: the runtime closes.
            Exception: all further pictures would fail, too.
        """


@dataclass(frozen=True)
class Work:
    """A command with its model and its output."""

    command: Command
    spec: ModelSpec
    #: address of the folder of parts
    parts: str
    #: commit of the checkpoint that the rows there were made with; None if there are none
    revision: str | None = None

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Examines a checkpoint for a worker: ``python -m app.adding.process PIPE QUESTION``.

QUESTION is a ``Question`` as JSON; the answer, an ``Answer`` as JSON, goes to the standard output.
PIPE is the reading end of ``SharedState.life``.

This is a separate process because workers do not connect to the hub themselves, and because a
process can be ended at any time, whatever it is waiting for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.adding.addition import examine_on_hub, row_of
from app.adding.problems import AddingError
from app.host.lifeline import end_with_the_service
from config.logging import configure_logging
from config.models import ModelSpec
from config.settings import load_settings_or_exit

_LONGEST_MESSAGE = 2000
_HOW_TO_SAY_ACTIVATION = "`python -m app models add KEY OWNER/NAME --activation ...` says it"


class Question(BaseModel):
    """A checkpoint to examine."""

    #: a row with the key and the repository; the family in it is ignored
    spec: ModelSpec
    #: the name to display; None: that of the repository
    name: str | None
    cache: Path


class Answer(BaseModel):
    """The row of the checkpoint, or the reason why it cannot be added."""

    row: dict[str, Any] = {}
    #: why some of its networks cannot be used
    limits: list[str] = []
    #: the name of the error's class in ``app.adding.problems``; None if there was no error
    error: str | None = None
    #: the error's text for clients
    message: str = ""


def main() -> None:
    """Answer one question."""
    # Only the answer may go to the standard output; whatever else is printed goes to the log.
    answer_to = os.dup(1)
    os.dup2(2, 1)
    end_with_the_service(int(sys.argv[1]))
    configure_logging(load_settings_or_exit())
    answer = _answer(Question.model_validate_json(sys.argv[2]))
    with os.fdopen(answer_to, "wb") as pipe:
        pipe.write(answer.model_dump_json().encode())


def _answer(question: Question) -> Answer:
    try:
        finding, licence = examine_on_hub(
            question.spec, question.cache, None, _HOW_TO_SAY_ACTIVATION
        )
    except AddingError as error:
        print(f"{question.spec.key} cannot be added: {error}", file=sys.stderr)
        return Answer(error=type(error).__name__, message=error.public[:_LONGEST_MESSAGE])
    row = row_of(finding, licence, question.name, None)
    return Answer(row=dict(row), limits=[limit[:_LONGEST_MESSAGE] for limit in finding.limits])


if __name__ == "__main__":
    main()

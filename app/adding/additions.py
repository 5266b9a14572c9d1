# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Adds models for clients of the service, who may name only repositories on the hub."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.adding import rows
from app.adding.addition import KEY_RULE, is_not_commercial, repository_in
from app.adding.problems import AddingError, KeyTaken, NotUsable, TableFull
from app.adding.process import Answer, Question
from app.errors import BadRequest, Busy, NotAvailable, TwinlensError
from app.host.temporary import TemporaryFolder
from app.hub.downloads import ONLINE
from config.families import FAMILIES
from config.models import ModelSpec, read_table
from config.settings import Settings
from config.threads import MAX_ADDITIONS

log = logging.getLogger("twinlens.adding")

#: Clients can add rows until the file has this many.
MOST_ROWS = 200
#: time limit for examining a checkpoint
SECONDS = 30.0
_PROJECT = Path(__file__).resolve().parents[2]
_CHECK_SECONDS = 0.1
_RETRY_SECONDS = 30
_TITLE = "Not added"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
#: A model with this key could not be queried, because ``GET /api/models/current`` is another route.
RESERVED_KEYS = {"current"}


@dataclass(frozen=True)
class Added:
    """A model whose row has been written."""

    spec: ModelSpec
    #: why some of its networks cannot be used
    limits: tuple[str, ...]

    @property
    def remarks(self) -> str:
        """Sentences about limits of the model and its licence; "" if there are none."""
        said = [f"Not usable: {limit}" for limit in self.limits]
        if self.spec.license == "unknown":
            said.append("Its page says under which licence it may be used")
        elif is_not_commercial(self.spec.license):
            said.append(f"Its licence {self.spec.license} does not permit commercial use")
        return ". ".join(said)


class Additions:
    """Adds rows to the user's table of models; created before the fork, used in every worker."""

    def __init__(self, settings: Settings, life: int) -> None:
        """Use the service's settings, and as ``life`` the reading end of ``SharedState.life``."""
        self._settings = settings
        self._life = life
        self._free = threading.Semaphore(MAX_ADDITIONS)

    def add(
        self, key: str, source: str, name: str | None, check_cancelled: Callable[[], None]
    ) -> Added:
        """Add a model of the hub to the table; takes at most about ``SECONDS``.

        Args:
            key: the key of the new model.
            source: OWNER/NAME, or the address of the repository's page.
            name: the name to display; None: that of the repository.
            check_cancelled: called repeatedly; may raise an exception, which ends the attempt.

        Raises:
            BadRequest, Busy, NotAvailable.
        """
        spec = _spec(key, source)
        if spec.key in {each.key for each in read_table().model}:
            raise _refused(KeyTaken("", f"There is a model {key} already: choose another key"))
        if self._settings.hf_hub_offline:
            raise NotAvailable(
                "This service does not ask the hub, because HF_HUB_OFFLINE is set: whoever runs it "
                "adds a folder with `python -m app models add KEY FOLDER`",
                title=_TITLE,
            )
        if not self._free.acquire(blocking=False):
            raise Busy(f"{MAX_ADDITIONS} models are being added", retry_after=_RETRY_SECONDS)
        try:
            path = self._settings.rows_file
            rows.check_room(path, spec.key, most=MOST_ROWS)
            question = Question(spec=spec, name=name, cache=self._settings.hf_hub_cache.absolute())
            answer = self._examine(question, check_cancelled)
            found = ModelSpec.model_validate(answer.row)
            if found.task not in self._settings.enabled_families:
                raise BadRequest(
                    f"{found.source} is for {found.task}, and ENABLED_FAMILIES turns that off here",
                    title=_TITLE,
                )
            rows.put(path, answer.row, replace=False, most=MOST_ROWS)
        except AddingError as error:
            log.warning("%s is not added: %s", spec.key, error)
            raise _refused(error) from None
        finally:
            self._free.release()
        log.info("%s (%s) is added as %s", spec.source, found.family, spec.key)
        return Added(found, tuple(answer.limits))

    def _examine(self, question: Question, check_cancelled: Callable[[], None]) -> Answer:
        """Examine a checkpoint in a separate process. Raises AddingError, NotAvailable."""
        end = time.monotonic() + SECONDS
        # The temporary files are removed here, because the process may be killed before it can.
        with (
            TemporaryFolder(kind="adding") as folder,
            self._process(question, folder) as process,
        ):
            try:
                said = None
                while said is None:
                    check_cancelled()
                    if time.monotonic() > end:
                        raise _unavailable(
                            f"The hub has not told enough of {question.spec.source} within "
                            f"{SECONDS:.0f} seconds: try again later"
                        )
                    said = _read(process)
            finally:
                process.kill()
        if process.returncode:
            raise _unavailable("The examination of the model failed: the log has details")
        answer = Answer.model_validate_json(said)
        if answer.error == NotUsable.__name__:
            raise NotUsable(answer.message)
        if answer.error is not None:
            raise _unavailable(answer.message)
        return answer

    def _process(self, question: Question, folder: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "app.adding.process",
                str(self._life),
                question.model_dump_json(),
            ],
            cwd=_PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=(self._life,),
            start_new_session=True,
            env={**os.environ, **ONLINE, "TMPDIR": str(folder)},
        )


def _read(process: subprocess.Popen[bytes]) -> bytes | None:
    """The process's whole output; None if it is still running after a short wait."""
    try:
        return process.communicate(timeout=_CHECK_SECONDS)[0]
    except subprocess.TimeoutExpired:
        return None


def _spec(key: str, source: str) -> ModelSpec:
    """A preliminary row with the key and the repository. Raises BadRequest."""
    if not _KEY.fullmatch(key):
        raise BadRequest(f"key: {KEY_RULE}", title="Invalid key")
    if key in RESERVED_KEYS:
        raise BadRequest(f"key: {key} is taken: choose another", title="Invalid key")
    repository = repository_in(source) or source
    if not _REPOSITORY.fullmatch(repository):
        raise BadRequest(
            "source: give a repository of the hub (OWNER/NAME) or the address of its page; only "
            "the command line adds a folder of the server",
            title="Invalid source",
        )
    return ModelSpec(key=key, family=next(iter(FAMILIES)), hub_id=repository)


def _refused(error: AddingError) -> TwinlensError:
    if isinstance(error, NotUsable | KeyTaken | TableFull):
        return BadRequest(error.public, title=_TITLE)
    return _unavailable(error.public)


def _unavailable(message: str) -> NotAvailable:
    return NotAvailable(message, title=_TITLE, retry_after=_RETRY_SECONDS)

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checkpoints converted for OpenVINO: find one, or have it made, once.

The work is done by a separate process (``conversion_process``): it needs torch, which the service's
own processes do without, and OpenVINO's converter starts threads, which a process that forks or was
forked cannot bear.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel

from app.engines.base import EngineUnavailable, LoadError, NetworkSource
from app.engines.openvino import cache as converted
from app.host import memory

log = logging.getLogger("twinlens.models")

_PROJECT = Path(__file__).resolve().parents[3]
# Of the way a network is converted; the next number makes all caches anew.
_RECIPE = 1
_LIBRARIES = ("openvino", "torch", "transformers", "open-clip-torch")
#: exit status of the process where the checkpoint is at fault, or this machine: the last line of
#: its output says why
REFUSED, FAILED = 3, 4
# A process that traces a network holds it several times over; measured with ViT-L-14: 2.6 times.
_MEMORY_FACTOR = 3
# After a failure; each further one doubles it.
_PAUSE_SECONDS = 60.0


class Job(BaseModel):
    """What the process is asked, as its argument."""

    #: for the log, such as "ViT-L-14 text"
    label: str
    #: see ``NetworkSource.recipe``
    recipe: tuple[str, str]
    #: keep weights as 16-bit floats: half the file and half the memory
    half: bool
    #: where the result goes, and what it says of itself
    target: Path
    basis: str


class Conversions:
    """Made once before the fork; used in every worker."""

    def __init__(self, half: bool, life: int) -> None:
        """Say what is wanted.

        Args:
            half: weights as 16-bit floats.
            life: a pipe that tells the process when the last process of the service is gone.
        """
        self._half = half
        self._life = life
        #: what failed, why, until when nobody tries again (monotonic seconds), and how long that is
        self._failures: dict[Path, tuple[LoadError, float, float]] = {}

    def find_converted(self, source: NetworkSource) -> Path | None:
        """The folder of the converted network, if there is one that is whole."""
        return converted.find_converted(source.repository, self._name(source))

    def ensure(self, source: NetworkSource) -> Path:
        """The folder of the converted network, which is made if need be: seconds to a minute, once.

        Raises:
            LoadError: the checkpoint does not fit the table or is damaged.
            EngineUnavailable: it cannot be converted or stored here.
        """
        found = self.find_converted(source)
        if found is not None:
            return found
        try:
            job = self.job(source)
            self._check_failures(job)
            # One at a time for the whole cache, since each takes much memory. What is a part of
            # the program may be converted where there is no cache.
            cache = source.repository.parent
            with converted.locked(cache if cache.is_dir() else job.target.parent) as lock:
                found = self.find_converted(source)  # another process may have been faster
                if found is None:
                    with self._remembering(job):
                        _check_memory(source.size)
                        self._convert(job, lock)
                    found = self.find_converted(source)
        except OSError as error:
            raise EngineUnavailable(
                f"its converted form cannot be stored ({error.strerror})"
            ) from error
        if found is None:
            raise EngineUnavailable("its converted form vanished")
        return found

    def can_store(self, source: NetworkSource) -> bool:
        """Whether there is a place for a converted network."""
        try:
            converted.writable_folder(source.repository)
        except OSError:
            return False
        return True

    def job(self, source: NetworkSource) -> Job:
        """What the process has to do for a network. Raises OSError: there is no place for it."""
        return Job(
            label=source.label,
            recipe=source.recipe,
            half=self._half,
            target=converted.writable_folder(source.repository) / self._name(source),
            basis=_basis(source),
        )

    def _check_failures(self, job: Job) -> None:
        if job.target in self._failures:
            error, until, _ = self._failures[job.target]
            if time.monotonic() < until:
                raise type(error)(str(error))

    @contextmanager
    def _remembering(self, job: Job) -> Iterator[None]:
        try:
            yield
        except LoadError as error:
            *_, pause = self._failures.get(job.target, (error, 0.0, _PAUSE_SECONDS / 2))
            kept = type(error)(str(error))  # without its traceback
            self._failures[job.target] = kept, time.monotonic() + 2 * pause, 2 * pause
            raise

    def _name(self, source: NetworkSource) -> str:
        # All networks of a checkpoint have one basis: none makes another one out of date.
        variant = f"{'half' if self._half else 'full'} {source.name}"
        return converted.name_for(_basis(source), variant)

    def _convert(self, job: Job, lock: int) -> None:
        log.info(
            "%s is converted for OpenVINO; this happens once, and takes seconds to a minute",
            job.label,
        )
        began = time.monotonic()
        process = subprocess.run(
            [
                sys.executable,
                "-m",
                "app.engines.openvino.conversion_process",
                job.model_dump_json(),
                str(self._life),
            ],
            cwd=_PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # The lock is held as long as either process lives.
            pass_fds=(self._life, lock),
            start_new_session=True,
            check=False,
            text=True,
        )
        if process.returncode in (REFUSED, FAILED):
            kind = LoadError if process.returncode == REFUSED else EngineUnavailable
            raise kind(process.stdout.strip().splitlines()[-1])
        if process.returncode != 0:
            raise EngineUnavailable(f"its conversion failed (status {process.returncode})")
        log.info("%s is converted after %.1f s", job.label, time.monotonic() - began)


def _check_memory(weights: int) -> None:
    need, free = _MEMORY_FACTOR * weights, memory.free("cpu")
    if free < need:
        raise EngineUnavailable(
            f"its conversion needs {need // 2**20} MB of memory and {free // 2**20} MB are free"
        )


def _basis(source: NetworkSource) -> str:
    """All that a converted network is made from but its variant."""
    libraries = (f"{name} {version(name)}" for name in _LIBRARIES)
    return ", ".join((f"recipe {_RECIPE}", *libraries, source.identity))

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds networks that were converted for OpenVINO in the cache, and converts missing ones.

A separate process (``conversion_process``) converts them, for two reasons: a conversion imports
torch, which the service's own processes do not need, and OpenVINO's converter starts threads, which
would break processes that fork or were forked.
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
from app.engines.openvino.int8 import variant as int8_variant
from app.host import memory

log = logging.getLogger("twinlens.conversion")

_PROJECT = Path(__file__).resolve().parents[3]
# The version of the way in which networks are converted. Increase it to convert all networks anew.
_RECIPE = 2
_LIBRARIES = ("openvino", "torch", "transformers", "open-clip-torch")
#: exit statuses of the conversion process: the checkpoint is at fault, or the conversion failed on
#: this machine; the last line of the output says why
REFUSED, FAILED = 3, 4
# Memory that a conversion needs, as a multiple of the network's weights. Tracing ViT-L-14 was
# measured to take 2.6 times its weights.
_MEMORY_FACTOR = 3
# Pause after a failed conversion; each further failure doubles the pause.
_PAUSE_SECONDS = 60.0


class Job(BaseModel):
    """What to convert and where to store it, passed to the conversion process as JSON."""

    #: name for the log, such as "ViT-L-14 text"
    label: str
    #: see ``NetworkSource.recipe``
    recipe: tuple[str, str]
    #: store weights as 16-bit floats, which halves the file size and the memory
    half: bool
    #: round the weights of matrix products to 8-bit integers
    int8: bool = False
    #: folder of the result
    target: Path
    #: see ``cache.Manifest``
    basis: str


class Conversions:
    """Finds and makes converted networks; created before the fork and used in every worker."""

    def __init__(self, half: bool, life: int, *, int8: bool = False) -> None:
        """Store the settings of all conversions.

        Args:
            half: store weights as 16-bit floats.
            life: descriptor of a pipe that closes when the last process of the service has ended,
                so that the conversion process ends, too.
            int8: round the weights of matrix products to 8-bit integers.
        """
        self._half = half
        self._int8 = int8
        self._life = life
        #: failed conversions by target: the error, when a new attempt is allowed (monotonic
        #: seconds), and the length of the pause
        self._failures: dict[Path, tuple[LoadError, float, float]] = {}

    def find_converted(self, source: NetworkSource) -> Path | None:
        """The folder of the converted network; None if there is none, or only a damaged one."""
        return converted.find_converted(source.repository, self._name(source))

    def ensure(self, source: NetworkSource) -> Path:
        """The folder of the converted network; converts it first if need be (up to a minute).

        Raises:
            LoadError: the checkpoint contradicts the table of models or is damaged.
            EngineUnavailable: the network cannot be converted or stored on this machine.
        """
        found = self.find_converted(source)
        if found is not None:
            return found
        try:
            job = self.job(source)
            self._raise_recent_failure(job)
            # Only one conversion runs at a time for the whole cache, because each takes much
            # memory. Built-in models may be used without a cache: then their own folder is locked.
            cache = source.repository.parent
            with converted.locked(cache if cache.is_dir() else job.target.parent) as lock:
                # Another process may have converted it meanwhile.
                found = self.find_converted(source)
                if found is None:
                    with self._remember_failure(job):
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
        """Whether a converted network could be stored."""
        try:
            converted.writable_folder(source.repository)
        except OSError:
            return False
        return True

    def job(self, source: NetworkSource) -> Job:
        """The job that converts a network. Raises OSError if there is no writable folder."""
        return Job(
            label=source.label,
            recipe=source.recipe,
            half=self._half,
            int8=self._int8,
            target=converted.writable_folder(source.repository) / self._name(source),
            basis=_basis(source),
        )

    def _raise_recent_failure(self, job: Job) -> None:
        if job.target in self._failures:
            error, until, _ = self._failures[job.target]
            if time.monotonic() < until:
                raise type(error)(str(error))

    @contextmanager
    def _remember_failure(self, job: Job) -> Iterator[None]:
        try:
            yield
        except LoadError as error:
            *_, pause = self._failures.get(job.target, (error, 0.0, _PAUSE_SECONDS / 2))
            # Keeps a copy of the error without its traceback, which would keep objects alive.
            kept = type(error)(str(error))
            self._failures[job.target] = kept, time.monotonic() + 2 * pause, 2 * pause
            raise

    def _name(self, source: NetworkSource) -> str:
        # All networks of a checkpoint share one basis, so that converting one does not make the
        # others out of date.
        kind = int8_variant() if self._int8 else "half" if self._half else "full"
        variant = f"{kind} {source.name}"
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
            # Passing the lock's descriptor keeps the lock until both processes have ended.
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
        log.info("%s was converted in %.1f s", job.label, time.monotonic() - began)


def _check_memory(weights: int) -> None:
    need, free = _MEMORY_FACTOR * weights, memory.free("cpu")
    if free < need:
        raise EngineUnavailable(
            f"its conversion needs {need // 2**20} MB of memory and {free // 2**20} MB are free"
        )


def _basis(source: NetworkSource) -> str:
    """Everything that a converted network depends on, except its variant."""
    libraries = (f"{name} {version(name)}" for name in _LIBRARIES)
    return ", ".join((f"recipe {_RECIPE}", *libraries, source.identity))

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checkpoints converted for OpenVINO: find one, or have it made, once.

The work is done by a separate process (``app.engines.openvino.conversion_process``): it needs torch, which
the service's own processes do without, and OpenVINO's converter starts threads, which a process
that forks or was forked cannot bear.
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

from app.engines.base import EngineUnavailable, LoadError
from app.engines.openvino import cache as converted
from app.host import memory
from app.hub.store import Checkpoint
from app.models.base import Model
from config.models import ModelSpec

log = logging.getLogger("twinlens.models")

_PROJECT = Path(__file__).resolve().parents[2]
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

    spec: ModelSpec
    checkpoint: Checkpoint
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

    def find(self, family: type[Model], spec: ModelSpec, checkpoint: Checkpoint) -> Path | None:
        """The folder of the converted model, if there is one that is whole."""
        name = self._name(spec, _basis(family, spec, checkpoint))
        return converted.find(checkpoint.repository, name)

    def bring(self, family: type[Model], spec: ModelSpec, checkpoint: Checkpoint) -> Path:
        """The folder of the converted model, which is made if need be: seconds to a minute, once.

        Raises:
            LoadError: the checkpoint does not fit the table or is damaged.
            EngineUnavailable: it cannot be converted or stored here.
        """
        found = self.find(family, spec, checkpoint)
        if found is not None:
            return found
        try:
            job = self.job(family, spec, checkpoint)
            self._look_at_failures(job)
            # One at a time for the whole cache, since each takes much memory. What is a part of
            # the program may be converted where there is no cache.
            cache = checkpoint.repository.parent
            with converted.alone(cache if cache.is_dir() else job.target.parent) as lock:
                found = self.find(family, spec, checkpoint)  # another process may have been faster
                if found is None:
                    with self._remembering(job):
                        _check_memory(family.size(checkpoint))
                        self._convert(job, lock)
                    found = self.find(family, spec, checkpoint)
        except OSError as error:
            raise EngineUnavailable(
                f"its converted form cannot be stored ({error.strerror})"
            ) from error
        if found is None:
            raise EngineUnavailable("its converted form vanished")
        return found

    def can_store(self, checkpoint: Checkpoint) -> bool:
        """Whether there is a place for a converted model."""
        try:
            converted.writable(checkpoint.repository)
        except OSError:
            return False
        return True

    def job(self, family: type[Model], spec: ModelSpec, checkpoint: Checkpoint) -> Job:
        """What the process has to do for a model. Raises OSError: there is no place for it."""
        basis = _basis(family, spec, checkpoint)
        return Job(
            spec=spec,
            checkpoint=checkpoint,
            half=self._half,
            target=converted.writable(checkpoint.repository) / self._name(spec, basis),
            basis=basis,
        )

    def _look_at_failures(self, job: Job) -> None:
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

    def _name(self, spec: ModelSpec, basis: str) -> str:
        # Both towers have one basis: neither makes the other one out of date.
        tower = " text" if spec.is_text_tower else ""
        return converted.name_for(basis, ("half" if self._half else "full") + tower)

    def _convert(self, job: Job, lock: int) -> None:
        log.info(
            "%s is converted for OpenVINO; this happens once, and takes seconds to a minute",
            job.spec.key,
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
        log.info("%s is converted after %.1f s", job.spec.key, time.monotonic() - began)


def _check_memory(weights: int) -> None:
    need, free = _MEMORY_FACTOR * weights, memory.free("cpu")
    if free < need:
        raise EngineUnavailable(
            f"its conversion needs {need // 2**20} MB of memory and {free // 2**20} MB are free"
        )


def _basis(family: type[Model], spec: ModelSpec, checkpoint: Checkpoint) -> str:
    """All that a converted model is made from but the variant of it."""
    weights = checkpoint.path / family.FILES[-1]
    # In the hub's cache it is a link to a file that bears its hash, which a copy keeps.
    identity = weights.resolve().name if weights.is_symlink() else weights.stat().st_mtime_ns
    parts = (
        f"recipe {_RECIPE}",
        *(f"{name} {version(name)}" for name in _LIBRARIES),
        f"{spec.family} {spec.dims} {spec.image_size} {spec.activation}",
        f"{checkpoint.revision} {weights.stat().st_size} {identity}",
    )
    return ", ".join(parts)

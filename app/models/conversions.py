# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checkpoints converted for OpenVINO: find one, or have it made, once.

The work is done by a separate process (``app.models.conversion_process``): it needs torch, which
the service's own processes do without, and OpenVINO's converter starts threads, which a process
that forks or was forked cannot bear.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel

from app.engines import converted
from app.engines.base import EngineUnavailable, LoadError
from app.models.base import Model
from app.models.store import Checkpoint
from config.models import ModelSpec

log = logging.getLogger("twinlens.models")

_PROJECT = Path(__file__).resolve().parents[2]
# Of the way a network is converted; the next number makes all caches anew.
_RECIPE = 1
_LIBRARIES = ("openvino", "torch", "transformers", "open-clip-torch")
#: exit status of the process where the checkpoint is at fault; its output says why
REFUSED = 3


class Job(BaseModel):
    """What the process is asked, as its argument."""

    spec: ModelSpec
    checkpoint: Path
    revision: str
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

    def find(self, family: type[Model], spec: ModelSpec, checkpoint: Checkpoint) -> Path | None:
        """The folder of the converted model, if there is one that is whole."""
        name = self._name(_basis(family, spec, checkpoint))
        return converted.find(_repository(checkpoint), name)

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
            with converted.alone(job.target.parent) as lock:
                found = self.find(family, spec, checkpoint)  # another process may have been faster
                if found is None:
                    self._convert(job, lock)
                    found = self.find(family, spec, checkpoint)
        except OSError as error:
            raise EngineUnavailable(
                f"its converted form cannot be stored ({error.strerror})"
            ) from error
        if found is None:
            raise EngineUnavailable("its converted form vanished")
        return found

    def job(self, family: type[Model], spec: ModelSpec, checkpoint: Checkpoint) -> Job:
        """What the process has to do for a model. Raises OSError: there is no place for it."""
        basis = _basis(family, spec, checkpoint)
        return Job(
            spec=spec,
            checkpoint=checkpoint.path,
            revision=checkpoint.revision,
            half=self._half,
            target=converted.writable(_repository(checkpoint)) / self._name(basis),
            basis=basis,
        )

    def _name(self, basis: str) -> str:
        return converted.name_for(basis, "half" if self._half else "full")

    def _convert(self, job: Job, lock: int) -> None:
        log.info("%s is converted for OpenVINO; this happens once", job.spec.key)
        began = time.monotonic()
        process = subprocess.run(
            [
                sys.executable,
                "-m",
                "app.models.conversion_process",
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
        if process.returncode == REFUSED:
            raise LoadError(process.stdout.strip().splitlines()[-1])
        if process.returncode != 0:
            raise EngineUnavailable(f"its conversion failed (status {process.returncode})")
        log.info("%s is converted after %.1f s", job.spec.key, time.monotonic() - began)


def _basis(family: type[Model], spec: ModelSpec, checkpoint: Checkpoint) -> str:
    """All that a converted model is made from but the variant of it."""
    weights = (checkpoint.path / family.FILES[-1]).stat()
    parts = (
        f"recipe {_RECIPE}",
        *(f"{name} {version(name)}" for name in _LIBRARIES),
        f"{spec.family} {spec.dims} {spec.image_size} {spec.activation}",
        f"{checkpoint.revision} {weights.st_size} {weights.st_mtime_ns}",
    )
    return ", ".join(parts)


def _repository(checkpoint: Checkpoint) -> Path:
    """The folder of a repository in the hub's cache, from ``snapshots/REVISION`` in it."""
    return checkpoint.path.parents[1]

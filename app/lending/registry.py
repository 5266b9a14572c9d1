# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The models that this service offers: rows of the table of models whose tasks are enabled."""

from __future__ import annotations

from app.errors import BadRequest
from app.hub.checkpoint_files import CheckpointFiles
from app.models.base import NetworkId
from config.families import Task, family_class
from config.models import ModelSpec
from config.names import key_hint
from config.settings import Settings


def files_of(spec: ModelSpec) -> CheckpointFiles:
    """The files of a model's checkpoint."""
    files: CheckpointFiles = family_class(spec.family).checkpoint_files()
    return files


def networks_of(spec: ModelSpec) -> tuple[NetworkId, ...]:
    """All networks of a model. The model counts as loaded when the first one is."""
    return tuple(NetworkId(spec, name) for name in family_class(spec.family).NETWORKS)


class Registry:
    """The models of the enabled tasks, by key."""

    def __init__(self, settings: Settings) -> None:
        self._tasks = settings.enabled_families
        table = settings.table()
        self._specs = {
            spec.key: spec for spec in table.model if spec.task in self._tasks and not spec.is_sharp
        }
        #: the row of Apple's program ``sharp``, which no engine runs; None if there is none
        self.sharp = table.sharp if "depth" in self._tasks else None
        wanted: dict[Task, str] = {
            "depth": settings.depth_model,
            "embedding": settings.default_model,
        }
        #: the default model for each enabled task
        self.defaults = {task: self._specs[wanted[task]] for task in self._tasks}

    def specs(self, task: Task | None = None) -> list[ModelSpec]:
        """The models of one task, or of all tasks, in the order of the table."""
        return [spec for spec in self._specs.values() if task in (None, spec.task)]

    def networks(self) -> list[NetworkId]:
        """The networks of all models."""
        return [network for spec in self.specs() for network in networks_of(spec)]

    def find(self, key: str) -> ModelSpec | None:
        """The model with a key; None if there is none."""
        return self._specs.get(key)

    def get(self, key: str, task: Task | None = None) -> ModelSpec:
        """The model with a key.

        Raises:
            BadRequest: there is no such model (for that task); the message names the known ones.
        """
        spec = self._specs.get(key)
        if spec is None or task not in (None, spec.task):
            known = [spec.key for spec in self.specs(task)]
            told = f"Unknown model {key[:64]!r}{key_hint(key, known)}; known: {', '.join(known)}"
            raise BadRequest(told, title="Unknown model")
        return spec

    def default(self, task: Task) -> ModelSpec:
        """The model for requests of a task that name no model."""
        return self.defaults[task]

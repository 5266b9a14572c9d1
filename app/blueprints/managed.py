# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds what a key means on the routes that manage models, and does their operations on it.

It is a model of the table, the current depth model, or a program that makes splats.

ImmichVR's backend knows one model for splats, ``sharp``: Apple's SHARP, whose licence allows
research only. It asks for that model's state and loads it before it asks for splats. Here the key
stands for Apple's program if the table of models has a row for it. Otherwise it stands for the
current depth model, because every depth model makes splats.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from app.blueprints.exchange import cancellation_check, runtime
from app.blueprints.health import download_figures
from app.errors import OperationFailed
from app.hub.weights import BUILT_IN
from app.lending.entry import ModelStatus, Wanted
from config.families import Task
from config.models import ModelSpec

#: ImmichVR's key of the model that makes splats
SHARP = "sharp"
#: what ImmichVR's panel shows for it
SHARP_NAME = "3D splats"
_MEANS_IT = f"{SHARP} means this depth model, which makes the 3D splats"


class Model:
    """A model of the table. The subclasses below are the other two things that a key can mean.

    ``load``, ``unload``, ``download`` and ``delete`` return a message about their success, and
    raise TwinlensError.
    """

    def __init__(self, spec: ModelSpec, status: ModelStatus | None = None) -> None:
        self.spec = spec
        if status is not None:
            self.status = status

    @property
    def task(self) -> Task:
        """The task by which ENABLED_FAMILIES and SERVICE_API_KEY_FOR decide."""
        return self.spec.task

    @cached_property
    def status(self) -> ModelStatus:
        """The status in the whole service when this is first asked for."""
        return runtime().reports.status(self.spec)

    @property
    def is_loaded(self) -> bool:
        """Whether clients are told that it is loaded.

        ImmichVR expects one active depth model: only the current one counts, even if other depth
        models are in memory, too.
        """
        is_loaded = self.status.state == "loaded"
        if self.spec.task == "depth":
            return is_loaded and self.spec == runtime().operations.current_depth_model()
        return is_loaded

    def describe(self) -> dict[str, Any]:
        """The fields of ``answers.ManagedModel``."""
        service, spec, status = runtime(), self.spec, self.status
        return {
            "key": spec.key,
            "name": spec.title,
            "type": spec.task,
            "params": spec.parameters,
            "memory": spec.memory,
            "download": service.manager.download_size(spec),
            "description": spec.description,
            "huggingface_id": spec.hub_id or BUILT_IN,
            "license": spec.license,
            "metric": service.depth.gives_metres(spec),
            "is_loaded": self.is_loaded,
            "is_downloaded": status.on_disk,
            "state": status.state,
            "weights": status.network.weights,
        }

    def describe_alone(self) -> dict[str, Any]:
        """The fields of ``answers.OneModel``."""
        return self.describe() | download_figures(self.status)

    def load(self, wanted: Wanted) -> str:
        """Load it, and download it first if it is not on disk."""
        device = runtime().operations.load(self.spec, wanted, cancellation_check())
        message = f"{self.spec.title} is loaded on the {'GPU' if device.is_gpu else 'CPU'}"
        if wanted == "gpu" and not device.is_gpu:
            message += ": there is no GPU here"
        return message

    def unload(self) -> str:
        """Unload it to free its memory."""
        runtime().operations.unload(self.spec, cancellation_check())
        return f"{self.spec.title} is unloaded"

    def download(self) -> str:
        """Bring it to disk, without loading it."""
        runtime().operations.download(self.spec, cancellation_check())
        return f"{self.spec.title} is on disk"

    def delete(self) -> str:
        """Unload it and delete its files."""
        runtime().operations.delete(self.spec, cancellation_check())
        return f"{self.spec.title} is deleted from disk"


class CurrentDepthModel(Model):
    """The current depth model as ImmichVR's ``sharp``."""

    def __init__(self) -> None:
        super().__init__(runtime().operations.current_depth_model())

    def describe(self) -> dict[str, Any]:
        """See the base class."""
        return super().describe() | {
            "key": SHARP,
            "name": SHARP_NAME,
            "type": "splat",
            "description": f"{SHARP_NAME}, from the depth maps of {self.spec.title}",
        }

    def load(self, wanted: Wanted) -> str:
        """See the base class."""
        return f"{super().load(wanted)}; {_MEANS_IT}"

    def unload(self) -> str:
        """See the base class."""
        return f"{super().unload()} until it is needed again; {_MEANS_IT}"

    def delete(self) -> str:
        """Keep it: ImmichVR's panel offers to delete it, but depth maps need the same files."""
        kept = f"{SHARP_NAME} need no files of their own: {self.spec.title} stays on disk"
        return f"{kept}; to delete it, delete {self.spec.key}"


class Program(Model):
    """Apple's program, which the operator of this service installs, with its checkpoint."""

    def __init__(self, spec: ModelSpec, key: str) -> None:
        sharp = runtime().sharp
        assert sharp is not None
        super().__init__(spec, sharp.status())
        self._key = key

    @property
    def is_loaded(self) -> bool:
        """See the base class; nothing has to be loaded, so this is whether it can be used."""
        return self.status.state == "loaded"

    def describe(self) -> dict[str, Any]:
        """See the base class."""
        spec, status = self.spec, self.status
        return {
            "key": self._key,
            "name": SHARP_NAME if self._key == SHARP else spec.title,
            "type": "splat",
            "params": spec.parameters,
            "memory": spec.memory,
            "download": spec.download or None,
            "description": spec.description or spec.title,
            "huggingface_id": "apple/Sharp",
            "license": spec.license,
            "metric": True,
            "is_loaded": self.is_loaded,
            "is_downloaded": status.on_disk,
            "state": status.state,
            "weights": None,
        }

    def load(self, wanted: Wanted) -> str:  # noqa: ARG002 - the program chooses the device itself
        """See the base class; there is nothing to load."""
        self._check("Load failed")
        return f"{self.spec.title} is ready; its program is started for each photo"

    def unload(self) -> str:
        """See the base class; there is nothing to unload."""
        return f"{self.spec.title} holds no memory between photos"

    def download(self) -> str:
        """See the base class; Twinlens does not bring it."""
        self._check("Download failed")
        return f"{self.spec.title} is on disk"

    def delete(self) -> str:
        """Refuse it: Twinlens did not bring the files."""
        raise OperationFailed(
            f"{self.spec.key} was installed by hand and cannot be deleted here",
            title="Delete failed",
        )

    def _check(self, title: str) -> None:
        if reason := self.status.reason:
            raise OperationFailed(f"{self.spec.key}: {reason}", title=title)


def find(key: str) -> Model:
    """What a key means. Raises BadRequest if it means nothing."""
    return known(key) or Model(runtime().registry.get(key))


def known(key: str) -> Model | None:
    """What a key means; None if it means nothing.

    A row of the table with the key comes first, even where ``sharp`` would mean something else.
    """
    service = runtime()
    if spec := service.registry.find(key):
        return Model(spec)
    if service.sharp is not None and key in (service.sharp.spec.key, SHARP):
        return Program(service.sharp.spec, key)
    is_current = key == SHARP and "depth" in service.settings.enabled_families
    return CurrentDepthModel() if is_current else None


def everything() -> list[Model]:
    """All models of the table, and what ``sharp`` stands for."""
    models = [Model(status.spec, status) for status in runtime().reports.statuses()]
    sharp = known(SHARP)
    return models if sharp is None or type(sharp) is Model else [*models, sharp]


def of_depth(key: str) -> ModelSpec:
    """The depth model of a request: the one with a key, or without one the current one.

    Raises:
        BadRequest: there is none with the key.
    """
    service = runtime()
    return service.registry.get(key, "depth") if key else service.operations.current_depth_model()


def of_splats(key: str) -> ModelSpec:
    """The model that makes the splats of a request: the one with a key, or without one the usual.

    Raises:
        BadRequest: there is none with the key.
    """
    sharp = runtime().sharp
    if not key and sharp is not None:
        return sharp.spec
    model = known(key)
    is_one = model is not None and model.task == "depth"
    return model.spec if model and is_one else of_depth(key)

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The registered families of models. A family is an architecture with its checkpoint format.

One entry of ``FAMILIES`` registers a family.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

#: What a model does: "depth" makes depth maps of photos, "embedding" vectors of images and texts.
Task = Literal["depth", "embedding"]
TASKS: tuple[Task, ...] = ("depth", "embedding")


class Family(NamedTuple):
    """The task of a family, and the location of its class as ``module:Class``."""

    task: Task
    location: str


#: The family of a row that stands for Apple's program ``sharp``, which makes splats of photos. The
#: program is installed separately, and no engine runs it; ``app.tasks.sharp`` says more.
SHARP = "sharp"

#: The families of models that engines run, by name. A class is imported only when a model of its
#: family is needed.
FAMILIES: dict[str, Family] = {
    "depth_anything": Family("depth", "app.models.depth_anything:DepthAnything"),
    "depth_anything_3": Family("depth", "app.models.depth_anything_3:DepthAnything3"),
    "transformers_depth": Family("depth", "app.models.transformers_depth:TransformersDepth"),
    "open_clip": Family("embedding", "app.models.open_clip:OpenClip"),
    "transformers": Family("embedding", "app.models.transformers_embedding:Transformers"),
}


@cache
def family_class(name: str) -> Any:
    """Import the class of a registered family, see ``app.models.base.Family``.

    Raises:
        KeyError: no family has this name.
    """
    module, _, attribute = FAMILIES[name].location.partition(":")
    return getattr(import_module(module), attribute)

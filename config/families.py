# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Families of models: an architecture with its checkpoint format. One line registers one."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

#: What a client wants: a depth map of a photo, or vectors of images and texts.
Task = Literal["depth", "embedding"]
TASKS: tuple[Task, ...] = ("depth", "embedding")


class Family(NamedTuple):
    """Which task a family serves, and where its class is: ``module:Class``."""

    task: Task
    location: str


#: The class is imported when a model of its family is first needed.
FAMILIES: dict[str, Family] = {
    "depth_anything": Family("depth", "app.models.depth_anything:DepthAnything"),
    "open_clip": Family("embedding", "app.models.open_clip:OpenClip"),
}


@cache
def family_class(name: str) -> Any:
    """The class of a registered family, see ``app.models.base.Family``."""
    module, _, attribute = FAMILIES[name].location.partition(":")
    return getattr(import_module(module), attribute)

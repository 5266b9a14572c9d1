# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The model that ImmichVR calls ``sharp``, and here is the current depth model.

ImmichVR's backend knows one model for splats, Apple's SHARP, whose licence allows research only. It
asks for that model's state and loads it before it asks for splats. Here depth models make splats.
"""

from __future__ import annotations

from app.blueprints.exchange import runtime
from config.families import Task
from config.models import ModelSpec

KEY = "sharp"
#: what ImmichVR's panel shows
NAME = "3D splats"
#: for messages about the model that it stands for
MEANS_IT = "sharp means this depth model, which makes the 3D splats"


def is_alias(key: str) -> bool:
    """Whether a key stands for the current depth model; a row of the table with it comes first."""
    service = runtime()
    has_depth = "depth" in service.settings.enabled_families
    return key == KEY and has_depth and service.registry.find(KEY) is None


def model(key: str, task: Task | None = None) -> ModelSpec:
    """The model with a key, as ``Registry.get``."""
    service = runtime()
    if is_alias(key):
        return service.operations.current_depth_model()
    return service.registry.get(key, task)


def title(spec: ModelSpec) -> str:
    """The name of the alias, which says what it stands for."""
    return f"{NAME}, from the depth maps of {spec.title}"

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Which class serves which family, and the rows of the table that are in use."""

from __future__ import annotations

from app.errors import BadRequest
from app.models.base import Model
from app.models.clip import Clip
from app.models.clip_text import ClipText
from app.models.depth_anything import DepthAnything
from config.models import Family, ModelSpec
from config.settings import Settings

FAMILIES: dict[Family, type[Model]] = {"depth": DepthAnything, "embedding": Clip}


def model_class(spec: ModelSpec) -> type[Model]:
    """The class that serves a row, or the text tower of one."""
    return ClipText if spec.is_text_tower else FAMILIES[spec.family]


class Registry:
    """The rows of the enabled families, by key."""

    def __init__(self, settings: Settings) -> None:
        self._families = settings.enabled_families
        self._specs = {
            spec.key: spec for spec in settings.table().model if spec.family in self._families
        }
        wanted: dict[Family, str] = {
            "depth": settings.depth_model,
            "embedding": settings.default_model,
        }
        #: the default model of each enabled family
        self.defaults = {family: self._specs[wanted[family]] for family in self._families}

    def specs(self, family: Family | None = None) -> list[ModelSpec]:
        """Rows in the order of the table, of one family or of all."""
        return [spec for spec in self._specs.values() if family in (None, spec.family)]

    def parts(self) -> list[ModelSpec]:
        """All that is loaded on its own: rows and the text towers of embedding models."""
        return [part for spec in self.specs() for part in spec.parts()]

    def find(self, key: str) -> ModelSpec | None:
        """The row of a key, if there is one."""
        return self._specs.get(key)

    def get(self, key: str, family: Family | None = None) -> ModelSpec:
        """The row of a key.

        Raises:
            BadRequest: no such model (in that family); the message names the known ones.
        """
        spec = self._specs.get(key)
        if spec is None or family not in (None, spec.family):
            known = ", ".join(spec.key for spec in self.specs(family))
            raise BadRequest(f"Unknown model {key[:64]!r}; known: {known}", title="Unknown model")
        return spec

    def default(self, family: Family) -> ModelSpec:
        """The model that answers when a request names none."""
        return self.defaults[family]

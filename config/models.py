# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The table of models (``config/models.toml``), read and checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Family = Literal["depth", "embedding"]
FAMILIES: tuple[Family, ...] = ("depth", "embedding")
# Ends the key of a text tower, so that no row can have it.
_TEXT = ":text"


class ModelSpec(BaseModel):
    """One row of the table: what a model is called, where it comes from and what it promises."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The key becomes a file name and part of a URL, hence the narrow alphabet.
    key: str = Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,63}}({_TEXT})?$")
    family: Family
    name: str
    #: None: its checkpoint is a part of the program
    hub_id: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(default="main", pattern=r"^[\w./-]+$")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    parameters: str
    memory: str
    license: str
    description: str
    dims: int | None = Field(default=None, gt=0)
    image_size: int | None = Field(default=None, gt=0)
    activation: Literal["gelu", "quick_gelu"] | None = None

    @property
    def is_built_in(self) -> bool:
        """Whether its checkpoint is a part of the program, so that nothing is downloaded."""
        return self.hub_id is None

    @model_validator(mode="after")
    def _embedding_rows_are_complete(self) -> ModelSpec:
        if self.family == "embedding" and None in (self.dims, self.image_size, self.activation):
            raise ValueError("an embedding model needs dims, image_size and activation")
        return self

    @property
    def is_text_tower(self) -> bool:
        """Whether it is the text tower of an embedding model."""
        return self.key.endswith(_TEXT)

    @property
    def row_key(self) -> str:
        """The key of its row in the table: the only one that clients know."""
        return self.key.removesuffix(_TEXT)

    def text_tower(self) -> ModelSpec:
        """The text tower of an embedding model: loaded, lent and freed as a model of its own."""
        return self.model_copy(update={"key": self.row_key + _TEXT})

    def parts(self) -> tuple[ModelSpec, ...]:
        """All that is loaded on its own of this row."""
        return (self, self.text_tower()) if self.family == "embedding" else (self,)


class ModelTable(BaseModel):
    """All rows; keys are unique."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: tuple[ModelSpec, ...]

    @model_validator(mode="after")
    def _keys_are_unique(self) -> ModelTable:
        keys = [spec.key for spec in self.model]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"these keys stand there twice: {', '.join(twice)}")
        towers = [spec.key for spec in self.model if spec.is_text_tower]
        if towers:
            raise ValueError(f"no key may end with {_TEXT}: {', '.join(towers)}")
        return self

    def keys(self, family: Family) -> list[str]:
        """The keys of one family, in the order of the table."""
        return [spec.key for spec in self.model if spec.family == family]


def read_table(path: Path) -> ModelTable:
    """Read the table; raises OSError, tomllib.TOMLDecodeError or pydantic.ValidationError."""
    return ModelTable.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))

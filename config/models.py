# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The table of models: the rows of ``config/models.toml`` and of MODELS_FILE."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from config.families import FAMILIES, SHARP, Task
from config.names import key_hint

BUILT_IN_TABLE = Path(__file__).with_name("models.toml")


class TableError(ValueError):
    """A table of models has mistakes; the message has a line for each."""


class ModelSpec(BaseModel):
    """One row of the table: the names of a model, the source of its checkpoint, and descriptions.

    ``dims`` (length of a vector), ``image_size`` (pixels), ``activation`` and ``metric`` (whether a
    depth model gives metres) are optional, because they are read from the checkpoint. If a row
    contradicts its checkpoint, the model is not available.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The key is used in file names and URLs, so few characters are allowed.
    key: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    family: str
    #: ``hub_id`` is a repository on the hub, ``path`` a folder on this machine. Without both, the
    #: checkpoint is part of the program (app/models/builtin). A row of the family SHARP has at most
    #: ``path``, the file of the checkpoint.
    hub_id: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    path: Path | None = None
    revision: str = Field(default="main", pattern=r"^[\w./-]+$")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    name: str = ""
    parameters: str = "unknown"
    memory: str = "unknown"
    #: size of the download, such as "599 MB"
    download: str = ""
    license: str = "unknown"
    description: str = ""
    dims: int | None = Field(default=None, gt=0)
    image_size: int | None = Field(default=None, gt=0)
    activation: Literal["gelu", "quick_gelu"] | None = None
    metric: bool | None = None

    @field_validator("family")
    @classmethod
    def _family_is_registered(cls, family: str) -> str:
        if family not in (*FAMILIES, SHARP):
            raise ValueError(f"allowed: {_ALLOWED['family']}")
        return family

    @model_validator(mode="after")
    def _one_source(self) -> ModelSpec:
        if self.hub_id is not None and self.path is not None:
            raise ValueError("give hub_id or path, not both")
        if self.path is not None and not self.path.is_absolute():
            raise ValueError("path must be absolute")
        if self.is_sharp and self.hub_id is not None:
            raise ValueError('family = "sharp" has no hub_id; path names the checkpoint\'s file')
        return self

    @property
    def is_sharp(self) -> bool:
        """Whether it stands for Apple's program instead of a model that an engine runs."""
        return self.family == SHARP

    @property
    def task(self) -> Task:
        """The task of its family; splats belong to depth."""
        return "depth" if self.is_sharp else FAMILIES[self.family].task

    @property
    def title(self) -> str:
        """The name to display."""
        return self.name or self.key

    @property
    def is_built_in(self) -> bool:
        """Whether its checkpoint is part of the program."""
        return self.hub_id is None and self.path is None and not self.is_sharp

    @property
    def is_downloadable(self) -> bool:
        """Whether its checkpoint is downloaded from the hub."""
        return self.hub_id is not None

    @property
    def source(self) -> str:
        """The source of its checkpoint, for messages."""
        return self.hub_id or (str(self.path) if self.path is not None else "built-in")


class ModelTable(BaseModel):
    """The rows of the table; their keys are unique."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: tuple[ModelSpec, ...] = ()

    @model_validator(mode="after")
    def _keys_are_unique(self) -> ModelTable:
        keys = [spec.key for spec in self.model]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"these keys occur more than once: {', '.join(twice)}")
        if sum(spec.is_sharp for spec in self.model) > 1:
            raise ValueError(f'only one row may have family = "{SHARP}"')
        return self

    @property
    def sharp(self) -> ModelSpec | None:
        """The row of Apple's program; None if there is none."""
        return next((spec for spec in self.model if spec.is_sharp), None)

    def keys(self, task: Task) -> list[str]:
        """The keys of one task's models that engines run, in the order of the table."""
        return [spec.key for spec in self.model if spec.task == task and not spec.is_sharp]

    def extended(self, other: ModelTable) -> ModelTable:
        """A table with these rows and those of ``other``, which replace rows with the same key."""
        rows = {spec.key: spec for spec in (*self.model, *other.model)}
        return ModelTable(model=tuple(rows.values()))


def read_table(extra: Path | None = None) -> ModelTable:
    """Read the built-in rows and, if given, those of the file ``extra`` (MODELS_FILE).

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: the file is not UTF-8.
        TableError: the file has mistakes.
    """
    table = parse(BUILT_IN_TABLE.read_text(encoding="utf-8"))
    return table if extra is None else table.extended(parse(extra.read_text(encoding="utf-8")))


def parse(text: str) -> ModelTable:
    """Parse the text of a table of models. Raises TableError."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"not TOML: {error}") from None
    try:
        return ModelTable.model_validate(content)
    except ValidationError as error:
        raise TableError("\n".join(_mistake(content, each) for each in error.errors())) from None


def _mistake(content: dict[str, Any], detail: Any) -> str:
    """The message for one validation error of pydantic: row, key, value, what is allowed."""
    own = detail["msg"].removeprefix("Value error, ")
    first, *where = detail["loc"] or ("",)
    if not first:
        return f"the table: {own}"
    if first != "model":
        return f"{first}: a table of models has only rows; {_ROWS}"
    if not where:
        return f"model: {_ROWS}"
    row = content["model"][where[0]]
    if not isinstance(row, dict):
        return f"row {where[0] + 1}: it is no table; {_ROWS}"
    name = f"model {row['key']!r}" if "key" in row else f"row {where[0] + 1}"
    if len(where) == 1:  # a mistake of several keys together
        return f"{name}: {own}"
    field = str(where[1])
    if detail["type"] == "missing":
        return f"{name}: {field} is missing; allowed: {_ALLOWED[field]}"
    stated = f"{name}: {field}={row[field]!r:.80}"
    if detail["type"] == "extra_forbidden":
        hint = key_hint(field, _ALLOWED)
        return f"{stated}: a row has no such key{hint}; allowed: {', '.join(_ALLOWED)}"
    return f"{stated}: allowed: {_ALLOWED[field]}"


_ROWS = "each row begins with a line [[model]], with two brackets"
_TEXT = "text in quotation marks"
_NUMBER = "a whole number above 0, without quotation marks"
#: What the keys of a row may be, for messages.
_ALLOWED = {
    "key": "up to 64 letters, digits, '.', '_' and '-', of which the first is a letter or digit",
    "family": ", ".join((*FAMILIES, SHARP)),
    "hub_id": 'a repository of the hub as "OWNER/NAME"',
    "path": "the absolute path of a folder with the checkpoint's files, in quotation marks",
    "revision": "a branch, tag or commit of the repository, in quotation marks",
    "sha256": "64 digits and letters a to f, the checksum of the weights file, in quotation marks",
    "name": _TEXT,
    "parameters": _TEXT,
    "memory": _TEXT,
    "download": _TEXT,
    "license": _TEXT,
    "description": _TEXT,
    "dims": _NUMBER,
    "image_size": _NUMBER,
    "activation": "gelu, quick_gelu",
    "metric": "true, false",
}

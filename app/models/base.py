# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Base class of model families, which read checkpoints and build their networks.

A family is one file beside this one with a subclass of ``DepthFamily`` (``depth_family``) or
``EmbeddingFamily`` (``embedding_family``), and one line in ``config/families.py``;
docs/adding-a-model.md shows two complete examples.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import TypeAdapter

from app.engines.base import FloatArray, InputArray, LoadError, NetworkSource, Unsupported
from app.hub import weights
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.store import Checkpoint
from app.models import description
from app.pictures.canvas import Pixels
from config.families import family_class
from config.models import ModelSpec
from config.values import EngineName, Precision


class Picture(Protocol):
    """An upright picture, from ``app.pictures.decode`` or from a decoding process."""

    @property
    def image(self) -> Pixels:
        """The pixels: RGB, 8 bits per channel; fewer than the photo's if it was decoded smaller."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the photo, pixels."""

    @property
    def done(self) -> bool:
        """Whether the family's crops and resizes have been done already."""


@dataclass(frozen=True)
class NetworkId:
    """Identifies one network of a model; each network is loaded, lent and freed separately."""

    spec: ModelSpec
    name: str

    def __str__(self) -> str:
        return f"{self.spec.key}/{self.name}"  # unambiguous, because a key contains no slash

    @property
    def label(self) -> str:
        """Display name: the model's key; networks other than its first add their own name."""
        first = next(iter(family_class(self.spec.family).NETWORKS))
        return self.spec.key if self.name == first else f"{self.spec.key} {self.name}"


@dataclass(frozen=True)
class Provenance:
    """What produced a map or vector: everything that affects its numbers, except the request."""

    #: commit of the checkpoint
    revision: str
    engine: EngineName
    precision: Precision
    preprocess_version: int


class Family(ABC):
    """One checkpoint as its family reads it; holds its description, not its loaded networks."""

    #: Files of the checkpoint that loading needs; the last one holds the weights.
    FILES: ClassVar[tuple[str, ...]]
    #: Files that only some checkpoints of the family have; they are used if they exist.
    OPTIONAL_FILES: ClassVar[tuple[str, ...]] = ()
    #: Pairs of one of ``FILES`` and the file that is used instead if a checkpoint lacks it.
    SUBSTITUTES: ClassVar[tuple[tuple[str, str], ...]] = ()
    #: Values of "model_type" in config.json by which ``recognises`` identifies the family's
    #: checkpoints.
    MODEL_TYPES: ClassVar[frozenset[str]] = frozenset()
    #: The networks, each with the name prefixes of its tensors. A model counts as loaded when its
    #: first network is loaded.
    NETWORKS: ClassVar[dict[str, tuple[str, ...]]] = {"image": ("",)}
    #: Version of the pre- and postprocessing. Increase it with every change that alters the numbers
    #: of answers, so that users know that stored results have to be recomputed.
    PREPROCESS_VERSION: ClassVar[int] = 1
    #: mean and standard deviation of each channel of a picture, for pixels scaled to 0..1
    mean: FloatArray
    deviation: FloatArray

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """Read the checkpoint's description from its small files.

        Raises:
            LoadError: the checkpoint is damaged, contradicts the model's row, or needs something
                that this family does not support; the message names it.
        """
        self.spec = spec
        self.checkpoint = checkpoint

    @classmethod
    def recognises(cls, files: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether a checkpoint is probably one of this family; ``__init__`` checks the details.

        Args:
            files: its small JSON files, by name.
        """
        return files.get("config.json", {}).get("model_type") in cls.MODEL_TYPES

    @classmethod
    def checkpoint_files(cls) -> CheckpointFiles:
        """The names of the files of this family's checkpoints."""
        return CheckpointFiles(cls.FILES, cls.OPTIONAL_FILES, cls.SUBSTITUTES)

    @classmethod  # noqa: B027 - a family may have none
    def import_libraries(cls) -> None:
        """Import the libraries that ``module`` needs.

        Called before the fork, so that all workers share the memory of the libraries.
        """

    @abstractmethod
    def module(self, network: str) -> Any:
        """A network as a torch module in evaluation mode, float32.

        ``Network.infer`` describes its input and output.

        The weights are memory-mapped from the file. An implementation must not run multi-threaded
        kernels: libgomp would make inference hang in the workers if one had run on the main
        thread of the gunicorn master before the fork.

        Raises:
            LoadError: the checkpoint is damaged.
        """

    @abstractmethod
    def blank(self, network: str) -> InputArray:
        """A blank input [1, ...] of the usual size, for warming up the network."""

    def input_shape(self, network: str) -> tuple[int | None, ...]:
        """Shape of the network's input; None is a dynamic size. By default only the batch's is."""
        return (None, *self.blank(network).shape[1:])

    def max_batch(self, network: str, device: str) -> int:  # noqa: ARG002
        """How many inputs of one shape are worth running as one batch on a device."""
        return 1

    def files(self) -> tuple[str, ...]:
        """The files of this checkpoint that exist; the last one holds the weights."""
        return self.checkpoint_files().expected(self.checkpoint.path)

    def networks(self) -> Mapping[str, tuple[str, ...]]:
        """The networks of this checkpoint, each with the name prefixes of its tensors.

        A checkpoint may lack some of the family's ``NETWORKS``.
        """
        return self.NETWORKS

    def check_network(self, network: str) -> None:  # noqa: B027 - optional
        """Raises LoadError if this network of the checkpoint cannot be used; others may work."""

    def source(self, network: str) -> NetworkSource:
        """Describes a network for an engine. Raises LoadError."""
        prefixes = self.networks().get(network)
        if prefixes is None:
            raise Unsupported(f"the checkpoint has no {network} network")
        self.check_network(network)
        file = self._weights_file()
        recipe = json.dumps(
            {
                "spec": self.spec.model_dump(mode="json"),
                "checkpoint": _CHECKPOINT.dump_python(self.checkpoint, mode="json"),
                "network": network,
            }
        )
        try:
            size = weights.size(file, prefixes)
            # Identifies the weights. In the hub's cache the file is a symlink to a file named after
            # its hash, so the name does not change when the cache is copied.
            name = file.resolve().name if file.is_symlink() else file.stat().st_mtime_ns
            parts = [self.checkpoint.revision, file.stat().st_size, name]
            files = self.files()
            for each in files[:-1]:
                parts.append(hashlib.sha256((self.checkpoint.path / each).read_bytes()).hexdigest())
        except LoadError:
            raise
        except Exception as error:  # a damaged file makes its parser raise anything
            raise _damaged_weights() from error
        row = f"{self.spec.family} {self.spec.activation}"
        return NetworkSource(
            label=NetworkId(self.spec, network).label,
            identity=" ".join(map(str, (row, *parts))),
            name=network,
            repository=self.checkpoint.repository,
            files=tuple(self.checkpoint.path / each for each in files),
            size=size,
            input_shape=self.input_shape(network),
            input_type=np.int64 if self.blank(network).dtype == np.int64 else np.float32,
            module=partial(self._module, network),
            recipe=("app.models.base:source_from", recipe),
        )

    def _module(self, network: str) -> Any:
        try:
            return self.module(network)
        except LoadError:
            raise
        except Exception as error:  # a damaged file makes its parsers raise anything
            raise LoadError(
                f"the checkpoint is damaged or not one of {self.spec.family}"
            ) from error

    def weights(self) -> str:
        """Origin of the weights: "published", or the file's note ("random"). Raises LoadError."""
        try:
            return weights.origin(self._weights_file())
        except LoadError:
            raise
        except Exception as error:  # a damaged file makes its parser raise anything
            raise _damaged_weights() from error

    def _weights_file(self) -> Path:
        return self.checkpoint.path / self.files()[-1]

    def read_json(self, name: str) -> dict[str, Any]:
        """Reads a JSON file of the checkpoint. Raises LoadError if it holds no JSON object."""
        return description.read(self.checkpoint, name)

    def facts(self) -> dict[str, object]:
        """Values in the checkpoint that the model's row may state as well, by name of the field.

        ``describe_checkpoint`` compares them with the row.
        """
        return {}

    def check_row(self, **found: object) -> None:
        """Compare values of the checkpoint with those in the model's row, which may lack them.

        Raises:
            LoadError: a value differs; the message has both values.
        """
        for name, value in found.items():
            stated = getattr(self.spec, name)
            if stated is not None and stated != value:
                raise LoadError(f"the checkpoint has {name} {value}, the table of models {stated}")


def describe_checkpoint(spec: ModelSpec, checkpoint: Checkpoint) -> Family:
    """The family object for a checkpoint; reads only its small files. Raises LoadError."""
    try:
        family: Family = family_class(spec.family)(spec, checkpoint)
        family.check_row(**family.facts())
    except LoadError:
        raise
    except Exception as error:  # a damaged file makes its parsers raise anything
        raise LoadError(f"the checkpoint is damaged or not one of {spec.family}") from error
    return family


def source_from(text: str) -> NetworkSource:
    """Rebuilds a source from the JSON text in ``NetworkSource.recipe``. Raises LoadError."""
    recipe = json.loads(text)
    spec = ModelSpec.model_validate(recipe["spec"])
    checkpoint = _CHECKPOINT.validate_python(recipe["checkpoint"])
    return describe_checkpoint(spec, checkpoint).source(recipe["network"])


_CHECKPOINT: TypeAdapter[Checkpoint] = TypeAdapter(Checkpoint)


def _damaged_weights() -> LoadError:
    return LoadError("the weights file is damaged or cannot be read")

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs one model in this process, without the service around it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from app.engines.base import FloatArray, InputArray, NetworkSource
from app.host.memory import usable_cores
from app.hub.store import Checkpoint, find_checkpoint
from app.lending.loaded import LoadedNetwork
from app.lending.loader import Loader
from app.lending.registry import files_of, networks_of
from app.models.base import NetworkId, describe_checkpoint
from app.models.tokens import Tokens
from app.pictures.canvas import Levels
from app.pictures.decode import Picture
from app.rendering import maps
from app.tasks.embedding import checked, unit_vector
from config.models import ModelSpec
from config.settings import Settings
from config.values import EngineSetting, PrecisionSetting


class Model:
    """A loaded network, with the steps that the service takes before and after inference."""

    def __init__(self, loaded: LoadedNetwork) -> None:
        self.loaded = loaded
        self.family = loaded.family
        self.network: Any = loaded.network
        self.spec = loaded.id.spec
        self.weights = loaded.weights
        self.checkpoint: Checkpoint = loaded.family.checkpoint

    def infer(self, batch: InputArray) -> FloatArray:
        """See ``Network.infer``."""
        return self.loaded.infer(batch)

    def warm_up(self) -> None:
        """See ``LoadedNetwork.warm_up``."""
        self.loaded.warm_up()

    def max_batch(self) -> int:
        """See ``LoadedNetwork.max_batch``."""
        return self.loaded.max_batch()


class DepthModel(Model):
    """Turns photos into depth maps."""

    @property
    def edge(self) -> int:
        """See ``DepthAnything``."""
        return int(self.family.edge)

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """See ``DepthFamily``."""
        size: tuple[int, int] = self.family.input_size(width, height)
        return size

    def decode_size(self, width: int, height: int) -> tuple[int, int]:
        """See ``DepthFamily.decode_size``."""
        size: tuple[int, int] = self.family.decode_size(width, height)
        return size

    def prepare(self, picture: Picture) -> FloatArray:
        """See ``DepthFamily``."""
        inputs: FloatArray = self.family.prepare(picture, self.network.images)
        return inputs

    def finish(self, output: FloatArray, width: int, height: int) -> Levels:
        """Turn the network's output for a photo into the map that the service gives by default."""
        disparity = self.family.disparity(self.family.crop(output, (width, height)))
        maps.check_finite(disparity)
        levels: Levels = self.network.images.spread(disparity, width, height)
        return levels


class ImageModel(Model):
    """Turns images into vectors."""

    def decode_size(self, image_size: int | None, width: int, height: int) -> tuple[int, int]:
        """See ``EmbeddingFamily.decode_size``."""
        size: tuple[int, int] = self.family.decode_size(image_size, width, height)
        return size

    def prepare(self, picture: Picture, image_size: int | None = None) -> FloatArray:
        """See ``EmbeddingFamily.prepare_image``."""
        work = self.network.images
        inputs: FloatArray = self.family.prepare_image(picture, image_size, work)
        return inputs

    @staticmethod
    def finish(vector: FloatArray, normalize: bool) -> FloatArray:
        """Turn the network's output for an image into the vector that the service gives."""
        return unit_vector(vector) if normalize else checked(vector)


class TextModel(Model):
    """Turns texts into vectors."""

    def prepare(self, text: str) -> Tokens:
        """See ``EmbeddingFamily.prepare_text``."""
        tokens: Tokens = self.family.prepare_text(text)
        return tokens

    finish = staticmethod(ImageModel.finish)


def with_work(loaded: LoadedNetwork) -> Any:
    """Return the ``DepthModel``, ``ImageModel`` or ``TextModel`` that fits a network."""
    if loaded.id.spec.task == "depth":
        return DepthModel(loaded)
    return TextModel(loaded) if loaded.id.name == "text" else ImageModel(loaded)


def row(key: str) -> ModelSpec:
    """Return the row of the model table that has this key."""
    (spec,) = [spec for spec in Settings().table().model if spec.key == key]
    return spec


def first_network(spec: ModelSpec) -> NetworkId:
    """Return the network that must be loaded for its model to count as loaded."""
    return networks_of(spec)[0]


def checkpoint_of(spec: ModelSpec, cache: Path) -> Checkpoint:
    """Find a model's checkpoint, which must be in this cache."""
    checkpoint = find_checkpoint(spec, files_of(spec), cache)
    assert checkpoint is not None, f"{spec.key} is not in {cache}"
    return checkpoint


def source(spec: ModelSpec, checkpoint: Checkpoint, network: str = "image") -> NetworkSource:
    """Return a network of a checkpoint in the form that engines take."""
    return describe_checkpoint(spec, checkpoint).source(network)


def cpu_loader(engine: EngineSetting, precision: PrecisionSetting) -> Loader:
    """Make a loader that serves only this process.

    A conversion process ends when the pipe ``life`` closes. Nothing closes this one, so that
    happens only when this process ends.
    """
    life, _ = os.pipe()
    return Loader.make(engine, precision, "cpu", threads=usable_cores(), life=life)


def load(
    cache: Path,
    key: str,
    engine: EngineSetting = "torch",
    precision: PrecisionSetting = "fp32",
    network: str = "image",
) -> Any:
    """Load a model on the CPU and warm it up; convert it first if the engine needs that.

    Returns:
        ``DepthModel``, ``ImageModel`` or, with the network "text", ``TextModel``.
    """
    spec = row(key)
    id = NetworkId(spec, network)
    loaded = cpu_loader(engine, precision).load(id, checkpoint_of(spec, cache), "cpu")
    loaded.network.to_device("cpu")
    loaded.warm_up()
    return with_work(loaded)

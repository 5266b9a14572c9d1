# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""One model in this process, without the service around it."""

from __future__ import annotations

import os
from pathlib import Path

from app.engines.openvino.conversions import Conversions
from app.host.memory import usable_cores
from app.hub.store import find
from app.lending.loader import Loader
from app.lending.registry import model_class
from app.models.base import Model
from config.settings import Settings
from config.values import EngineSetting, PrecisionSetting


def load(
    cache: Path, key: str, engine: EngineSetting = "torch", precision: PrecisionSetting = "fp32"
) -> Model:
    """A model on the CPU, warm; converted first where the engine needs that."""
    parts = [part for spec in Settings().table().model for part in spec.parts()]
    (spec,) = [part for part in parts if part.key == key]
    checkpoint = find(spec, model_class(spec).FILES, cache)
    assert checkpoint is not None, f"{key} is not in {cache}"
    life, _ = os.pipe()
    conversions = Conversions(precision != "fp32", life)
    loader = Loader(engine, precision, "cpu", usable_cores(), 1, conversions)
    model = loader.load(spec, checkpoint, "cpu")
    model.network.to_device("cpu")
    model.warm_up()
    return model

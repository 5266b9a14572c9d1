# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes the model cards: the texts of ``cards/KEY.md`` with the measured figures filled in."""

from __future__ import annotations

from pathlib import Path
from string import Template

from safetensors import safe_open

from app.hub.store import BUILTIN
from app.lending.registry import files_of
from config.settings import Settings

_TEXTS = Path(__file__).parent / "cards"


def write_card(key: str, figures: dict[str, float]) -> None:
    """Write a model's card beside its checkpoint, as README.md.

    Args:
        key: the model's key in the model table.
        figures: measured figures by their placeholders in the text.
    """
    (spec,) = [spec for spec in Settings().table().model if spec.key == key]
    file = BUILTIN / key / files_of(spec)[-1]
    with safe_open(file, framework="numpy") as tensors:
        parameters = sum(tensors.get_tensor(name).size for name in tensors.keys())  # noqa: SIM118
    facts = {name: f"{value:.3f}" for name, value in figures.items()}
    facts |= {
        "parameters": f"{parameters / 1e6:.2f} million",
        "size": f"{file.stat().st_size / 1e6:.1f} MB",
    }
    text = Template((_TEXTS / f"{key}.md").read_text(encoding="utf-8")).substitute(facts)
    (BUILTIN / key / "README.md").write_text(text, encoding="utf-8")

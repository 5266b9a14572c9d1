# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads checkpoints in transformers' layout: their weights, whole or not at all, and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.engines.base import LoadError
from app.hub import weights
from app.hub.store import Checkpoint
from app.models import description

SAFE_WEIGHTS = "model.safetensors"
PICKLED_WEIGHTS = "pytorch_model.bin"
#: the file that says how pictures are prepared
PICTURES = "preprocessor_config.json"
#: Newer checkpoints say it in the part "image_processor" of this file, together with the settings
#: of their tokenizer, or say it in both files. Most of these files lack that part.
PROCESSOR = "processor_config.json"
_PICTURES_PART = "image_processor"
OPTIONAL_FILES = (PROCESSOR,)
#: Older checkpoints have their weights only as a pickle, among them OpenAI's CLIP models.
SUBSTITUTES = ((SAFE_WEIGHTS, PICKLED_WEIGHTS), (PICTURES, PROCESSOR))


def picture_settings(checkpoint: Checkpoint) -> tuple[dict[str, Any], str]:
    """The settings by which a checkpoint's pictures are prepared, and their place for messages.

    If both files have them, those of PROCESSOR count, as in transformers.

    Raises:
        LoadError: a file is damaged, or none has the settings.
    """
    if (checkpoint.path / PROCESSOR).is_file():
        found = description.read(checkpoint, PROCESSOR)
        if found.get(_PICTURES_PART) is not None:
            part = description.part(found, _PICTURES_PART, PROCESSOR)
            return part, f"{_PICTURES_PART} in {PROCESSOR}"
        if not (checkpoint.path / PICTURES).is_file():
            raise LoadError(f'{PROCESSOR} lacks "{_PICTURES_PART}", and there is no {PICTURES}')
    return description.read(checkpoint, PICTURES), PICTURES


def load(network_class: Any, folder: Path, name: str, **options: Any) -> Any:
    """A network of transformers with the weights of a checkpoint, float32 and memory-mapped.

    Args:
        network_class: a class of transformers with ``from_pretrained``.
        folder: the checkpoint's folder.
        name: what to call the network in the message about missing tensors.
        options: further arguments of ``from_pretrained``.

    Raises:
        LoadError: tensors of the network are missing or have other shapes; pickled weights hold
            anything but tensors.
        Exception: the checkpoint is damaged; ``Family.source`` turns it into a LoadError.
    """
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    # Hides warnings about the loss function, which only training needs, and about tensors that are
    # not used, which belong to another network of the checkpoint.
    logging.set_verbosity_error()
    network, report = network_class.from_pretrained(
        folder,
        local_files_only=True,
        dtype=torch.float32,
        output_loading_info=True,
        **safety(folder),
        **options,
    )
    # transformers initialises missing tensors with random numbers and only warns.
    if report["missing_keys"] or report["mismatched_keys"]:
        raise LoadError(f"the checkpoint lacks tensors of {name}")
    return network


def safety(folder: Path) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` with which nothing in a checkpoint's folder can be run.

    Raises:
        Unsupported: pickled weights hold anything but tensors.
        Exception: pickled weights are damaged.
    """
    if (folder / SAFE_WEIGHTS).is_file():
        return {"use_safetensors": True}
    weights.origin(folder / PICKLED_WEIGHTS)  # raises
    return {"use_safetensors": False, "weights_only": True}

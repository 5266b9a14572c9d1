# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Loads checkpoints in transformers' layout, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.engines.base import LoadError


def load(network_class: Any, folder: Path, name: str, **options: Any) -> Any:
    """A network of transformers with the weights of a checkpoint, float32 and memory-mapped.

    Args:
        network_class: a class of transformers with ``from_pretrained``.
        folder: the checkpoint's folder.
        name: what to call the network in the message about missing tensors.
        options: further arguments of ``from_pretrained``.

    Raises:
        LoadError: tensors of the network are missing or have other shapes.
        Exception: the checkpoint is damaged; ``Family.source`` turns it into a LoadError.
    """
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # Hides warnings about the loss function, which only training needs, and about tensors that are
    # not used, which belong to another network of the checkpoint.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    network, report = network_class.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        **options,
    )
    # transformers initialises missing tensors with random numbers and only warns.
    if report["missing_keys"] or report["mismatched_keys"]:
        raise LoadError(f"the checkpoint lacks tensors of {name}")
    return network

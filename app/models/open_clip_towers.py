# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Builds one tower of an open_clip checkpoint: its image network or its text network.

A tower is built on the meta device, where tensors take no memory, and then gets the memory-mapped
tensors of the file. No weights are copied, except 16-bit floats, which become float32. Nor are any
initialised at random, on which open_clip's ``create_model`` would spend seconds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from app.engines.base import LoadError, Unsupported
from app.models import tensors

#: Prefixes of the names of each network's tensors. In ``CustomTextCLIP`` and ``CoCa``, the names of
#: the text tower begin with "text."; in ``CLIP`` they have no common prefix.
PREFIXES: dict[str, tuple[str, ...]] = {
    "image": ("visual.",),
    "text": (
        "text.",
        "token_embedding.",
        "positional_embedding",
        "transformer.",
        "ln_final.",
        "text_projection",
    ),
}
# Changes to the settings. Some networks also return tokens for a decoder of captions, which is not
# used here. The weights come from the checkpoint, so none must be downloaded.
_CHANGES: dict[str, dict[str, object]] = {
    "image": {"output_tokens": False, "timm_model_pretrained": False},
    "text": {"output_tokens": False, "hf_model_pretrained": False},
}


def build(network: str, dims: int, settings: dict[str, Any], quick_gelu: bool, file: Path) -> Any:
    """One tower as a torch module in evaluation mode, float32.

    Args:
        network: "image" or "text".
        dims: the checkpoint's ``embed_dim``.
        settings: its ``vision_cfg`` or ``text_cfg``; in the latter, ``hf_model_name`` is the path
            of the text encoder's config.json.
        quick_gelu: whether it uses QuickGELU.
        file: its weights file.

    Raises:
        Unsupported: open_clip cannot build the tower.
        Exception: the weights are damaged, or do not belong to the tower.
    """
    import torch
    from open_clip.model import _build_text_tower, _build_vision_tower

    towers = {"image": _build_vision_tower, "text": _build_text_tower}
    try:
        with torch.device("meta"):
            module = towers[network](dims, settings | _CHANGES[network], quick_gelu=quick_gelu)
    except Exception as error:  # unknown names and impossible values raise many kinds of errors
        raise Unsupported(f"open_clip cannot build its {network} network: {error}") from error
    wanted = module.state_dict().keys()
    stored = _tensors(file, network)
    # Older releases of transformers and timm stored buffers that newer ones compute.
    for name, _ in module.named_buffers():
        if name not in wanted:
            stored.pop(name, None)
    module.load_state_dict(stored, strict=True, assign=True)
    _compute_buffers(module)
    return module.eval()


def _tensors(file: Path, network: str) -> dict[str, Any]:
    prefixes = PREFIXES[network]
    found = tensors.read(file, lambda name: name.startswith(prefixes))
    return {name.removeprefix(prefixes[0]): tensor for name, tensor in found.items()}


def _compute_buffers(module: Any) -> None:
    """Compute the tensors that are not in the file: masks, indices, rotary position embeddings.

    Raises:
        LoadError: one of them cannot be computed here.
    """
    import torch

    fresh = {}
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            owner, _, leaf = name.rpartition(".")
            fresh[name] = torch.empty_like(buffer, device="cpu")
            setattr(module.get_submodule(owner), leaf, fresh[name])
    if not fresh:
        return
    # In a separate thread, because multi-threaded kernels leave a pool of threads with the thread
    # that called them. A pool of the main thread would hang in workers that are forked later.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_call_makers, module, {name.rpartition(".")[0] for name in fresh}).result()
    for name, buffer in fresh.items():
        # A buffer that was computed has been replaced by another object or has been written to.
        if module.get_buffer(name) is buffer and buffer._version == 0:
            raise LoadError(f"its buffer {name} is in no file, and cannot be computed")


def _call_makers(module: Any, owners: set[str]) -> None:
    from open_clip.transformer import TextTransformer
    from timm.models._manipulate import reinit_non_persistent_buffers
    from transformers import PreTrainedModel

    reinit_non_persistent_buffers(module)
    for each in module.modules():
        if isinstance(each, TextTransformer) and each.attn_mask is not None:
            each.attn_mask = each.build_causal_mask()
    for prefix, each in module.named_modules():
        if isinstance(each, PreTrainedModel):
            for name in owners:
                if f"{name}.".startswith(f"{prefix}."):
                    each._init_weights(module.get_submodule(name))

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tells which open_clip checkpoints use QuickGELU, x * sigmoid(1.702 x), instead of GELU.

A checkpoint would load without an error with the wrong activation, but all its vectors would be
wrong.
"""

from __future__ import annotations

from typing import Any

from app.engines.base import LoadError, Unsupported
from config.models import ModelSpec

#: Repositories whose weights were trained with QuickGELU, according to open_clip's own table.
QUICK_GELU_REPOSITORIES = frozenset(
    {
        *(
            f"timm/{name}.openai"
            for name in (
                "resnet50_clip",
                "resnet101_clip",
                "resnet50x4_clip",
                "resnet50x16_clip",
                "resnet50x64_clip",
                "vit_base_patch32_clip_224",
                "vit_base_patch16_clip_224",
                "vit_large_patch14_clip_224",
                "vit_large_patch14_clip_336",
            )
        ),
        "timm/resnet50_clip.yfcc15m",
        "timm/resnet50_clip.cc12m",
        "timm/resnet101_clip.yfcc15m",
        "timm/vit_base_patch32_clip_224.laion400m_e31",
        "timm/vit_base_patch32_clip_224.laion400m_e32",
        "timm/vit_base_patch32_clip_224.metaclip_400m",
        "timm/vit_base_patch32_clip_224.metaclip_2pt5b",
        "timm/vit_base_patch16_clip_224.metaclip_400m",
        "timm/vit_base_patch16_clip_224.metaclip_2pt5b",
        "timm/vit_large_patch14_clip_224.metaclip_400m",
        "timm/vit_large_patch14_clip_224.metaclip_2pt5b",
        "timm/vit_huge_patch14_clip_224.metaclip_2pt5b",
        "timm/vit_huge_patch14_clip_224.metaclip2_worldwide",
        "timm/vit_gigantic_patch14_clip_224.metaclip_2pt5b",
        "apple/DFN2B-CLIP-ViT-B-16",
        "apple/DFN2B-CLIP-ViT-L-14",
        "apple/DFN5B-CLIP-ViT-H-14",
        "apple/DFN5B-CLIP-ViT-H-14-378",
    }
)


def uses_quick_gelu(spec: ModelSpec, architecture: dict[str, Any], where: str) -> bool:
    """Whether a checkpoint uses QuickGELU; towers of timm and of transformers never do.

    The checkpoint's own statement decides, then the list above, then the model's row. If none of
    them settles it, a repository on the hub uses GELU, because open_clip's own loader takes GELU
    as well, so the publisher tested the weights with it. For a folder of the user that conclusion
    would be unsafe: it may hold OpenAI's weights, which open_clip 3 wrongly loads with GELU.

    Args:
        spec: the model's row.
        architecture: the checkpoint's ``model_cfg``.
        where: the name of its file, for messages.

    Raises:
        LoadError: the row contradicts the checkpoint, or nothing states the activation.
    """
    stated = architecture.get("quick_gelu")
    if stated is None and spec.hub_id in QUICK_GELU_REPOSITORIES:
        stated = True
    if stated is not None:
        found = "quick_gelu" if stated else "gelu"
        if spec.activation not in (None, found):
            raise LoadError(
                f"the checkpoint has activation {found}, the table of models {spec.activation}"
            )
        return found == "quick_gelu"
    if spec.activation is not None:
        return spec.activation == "quick_gelu"
    # Only open_clip's own towers can hold OpenAI's weights: OpenAI published none for timm's.
    vision = architecture.get("vision_cfg") or {}
    if spec.hub_id is None and not vision.get("timm_model_name"):
        raise Unsupported(
            f'model_cfg in {where} lacks "quick_gelu"; state activation = "gelu" or '
            '"quick_gelu" in its row of the table; its page on the hub says which'
        )
    return False

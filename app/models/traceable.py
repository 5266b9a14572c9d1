# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes networks of transformers correct for every input size after tracing.

OpenVINO converts the operations that a network runs for one example. A branch that depends on the
example's size, or a number that Python computes from it, would be fixed for all sizes. The
functions here replace parts of the networks: they compute the same, but without such branches, and
with sizes that are taken from tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def make_traceable(network: Any) -> None:
    """Replace the forward passes of a network's parts that tracing would get wrong."""
    for part in network.modules():
        replacement = _REPLACEMENTS.get(type(part).__name__)
        if replacement is not None:
            part.forward = partial(replacement, part)


def _fuse(layer: Any, hidden: Tensor, residual: Tensor | None = None) -> Tensor:
    """Replaces ``DPTFeatureFusionLayer`` and its copy in ZoeDepth.

    The original resizes the residual only if its size differs. This always does, which makes no
    difference for equal sizes.
    """
    import torch.nn.functional as F

    if residual is not None:
        fitted = F.interpolate(residual, hidden.shape[2:], mode="bilinear", align_corners=False)
        hidden = hidden + layer.residual_layer1(fitted)
    hidden = layer.residual_layer2(hidden)
    enlarged = F.interpolate(
        hidden, scale_factor=2, mode="bilinear", align_corners=layer.align_corners
    )
    fused: Tensor = layer.projection(enlarged)
    return fused


def _depth_head(head: Any, hidden_states: list[Tensor]) -> Tensor:
    """Replaces ``DPTDepthEstimationHead``; computes its last layer in float32."""
    hidden = hidden_states[head.config.head_in_index]
    if head.projection is not None:
        hidden = head.projection(hidden).relu()
    return _last_in_float32(head.head, hidden)


def _depth_pro_head(head: Any, hidden: Tensor) -> Tensor:
    """Replaces ``DepthProDepthEstimationHead``; computes its last layer in float32."""
    return _last_in_float32(head.layers, hidden)


def _last_in_float32(all_layers: Any, hidden: Tensor) -> Tensor:
    """Apply layers that end with a convolution to one channel and an activation function.

    The last convolution is computed in float32, because bfloat16 is coarser than the levels of an
    8-bit map.
    """
    import torch.nn.functional as F

    *layers, last, activation = all_layers
    for layer in layers:
        hidden = layer(hidden)
    depth: Tensor = activation(F.conv2d(hidden.float(), last.weight.float(), last.bias.float()))
    return depth.squeeze(1)


def _position_bias(bias: Any, window: tuple[Any, Any], *_: Any, **__: Any) -> Tensor:
    """Replaces ``BeitRelativePositionBias``: what attention adds for the distance of two patches.

    The module's table has a value for each distance, and three for the class token: for attention
    from it to patches, from patches to it, and from it to itself. The table is resized if there are
    more or fewer patches than in training.

    Args:
        bias: the module.
        window: numbers of rows and columns of patches.

    Returns:
        [1, heads, 1 + patches, 1 + patches].
    """
    import torch
    import torch.nn.functional as F

    table = bias.relative_position_bias_table  # [distances + 3, heads]
    rows, columns = window
    old_rows, old_columns = bias.window_size
    distances = table[:-3].T.reshape(1, -1, 2 * old_rows - 1, 2 * old_columns - 1)
    resized = F.interpolate(distances, (2 * rows - 1, 2 * columns - 1), mode="bilinear")[0]

    def differences(count: Any) -> Tensor:
        places = torch.arange(count, device=table.device)
        apart: Tensor = places[:, None] - places[None, :] + count - 1
        return apart

    heads, patches = table.shape[1], rows * columns
    # Before it is reshaped, ``between`` has the axes: heads, row and column of one patch, row and
    # column of the other.
    by_row = resized[:, differences(rows)]
    between = by_row[:, :, :, differences(columns)].permute(0, 1, 3, 2, 4)
    between = between.reshape(heads, patches, patches)
    from_class, to_class, itself = (table[each][:, None, None] for each in (-3, -2, -1))
    first_row = torch.cat((itself, from_class.expand(-1, -1, patches)), 2)
    others = torch.cat((to_class.expand(-1, patches, -1), between), 2)
    return torch.cat((first_row, others), 1)[None]


def _standardised(convolution: Any, hidden: Tensor) -> Tensor:
    """Replaces BiT's ``WeightStandardizedConv2d``, which uses a batch norm in training mode."""
    import torch
    import torch.nn.functional as F

    if convolution.pad is not None:
        hidden = convolution.pad(hidden)
    weight = convolution.weight
    variance, mean = torch.var_mean(weight, (1, 2, 3), correction=0, keepdim=True)
    weight = (weight - mean) * torch.rsqrt(variance + convolution.eps)
    convolved: Tensor = F.conv2d(
        hidden,
        weight,
        convolution.bias,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        convolution.groups,
    )
    return convolved


def _metric_heads(
    heads: Any,
    outconv_activation: Tensor,
    bottleneck: Tensor,
    feature_blocks: list[Tensor],
    relative_depth: Tensor,  # noqa: ARG001 - only the single head uses it
) -> tuple[Tensor, Tensor]:
    """Replaces ``ZoeDepthMultipleMetricDepthEstimationHeads``, a head for each domain (indoors...).

    The original runs the one head that a classifier chooses for the whole batch. This runs all
    heads, and takes for each picture the output of the head that the classifier chooses for it.
    """
    import torch
    import torch.nn.functional as F

    hidden = heads.conv2(bottleneck)
    domains = heads.mlp_classifier(heads.patch_transformer(hidden)[:, 0])
    seed = heads.seed_projector(hidden)
    embeddings = [
        projector(each) for projector, each in zip(heads.projectors, feature_blocks, strict=False)
    ]
    size = outconv_activation.shape[2:]
    fitted = F.interpolate(embeddings[-1], size, mode="bilinear", align_corners=True)
    metres = []
    for domain in heads.bin_configurations:
        name, nearest = domain["name"], domain["min_depth"]
        _, bins = heads.seed_bin_regressors[name](hidden)
        if heads.bin_centers_type == "normed":
            bins = (bins - nearest) / (domain["max_depth"] - nearest)
        before = seed
        for attractor, embedding in zip(heads.attractors[name], embeddings, strict=False):
            bins, centres = attractor(embedding, bins, before, interpolate=True)
            before = embedding
        centres = F.interpolate(centres, size, mode="bilinear", align_corners=True)
        shares = heads.conditional_log_binomial[name](outconv_activation, fitted)
        metres.append((shares * centres).sum(1, keepdim=True))
    stacked = torch.stack(metres, 1)  # [n, domains, 1, h, w]
    chosen = F.one_hot(domains.argmax(1), len(metres)).bool()[:, :, None, None, None]
    return torch.where(chosen, stacked, torch.zeros_like(stacked)).sum(1), domains


_REPLACEMENTS: dict[str, Callable[..., Any]] = {
    "ZoeDepthMultipleMetricDepthEstimationHeads": _metric_heads,
    "DPTFeatureFusionLayer": _fuse,
    "ZoeDepthFeatureFusionLayer": _fuse,
    "DPTDepthEstimationHead": _depth_head,
    "DepthProDepthEstimationHead": _depth_pro_head,
    "BeitRelativePositionBias": _position_bias,
    "WeightStandardizedConv2d": _standardised,
}

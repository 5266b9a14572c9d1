# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The network of Depth Anything 3 for one photo: a DINOv2 transformer and a DPT head.

Lin et al., "Depth Anything 3: Recovering the Visual Space from Any Views", 2025,
https://arxiv.org/abs/2511.10647. Written from the paper and the names and shapes of the published
tensors. The network is made of functions over the checkpoint's tensors, so that nothing is
initialised or copied. All sizes are computed from the input's shape by tensor operations, so that
a traced network is correct for every input size.

In the models for any number of views, blocks that attend within each view alternate with blocks
that attend across all views. With a single view both kinds attend to the same tokens, and differ
only in the positions that they give to the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from app.engines.base import FloatArray

PATCH = 14
#: the largest supported width and height of the input, in patches
MAX_PATCHES = 36
#: number of features that one attention head has, the same for models of all sizes
HEAD_WIDTH = 64

_GRID = 37  # rows and columns of the position embedding, which was trained on 518x518 pixels
# The published code adds this to the new size when it scales the position embedding.
_OFFSET = 0.1
_CUBIC = -0.75  # parameter of bicubic interpolation, as in torch
_ROTARY_BASE = 100.0
_PLANE_BASE = 100.0
_PLANE_SHARE = 0.1  # factor of the positions that the head adds to its feature maps
_BLOCK_EPSILON, _EPSILON = 1e-6, 1e-5


@dataclass(frozen=True)
class Plan:
    """How a variant differs from the others, apart from the shapes of its tensors."""

    #: indices of the four blocks whose tokens go to the head
    out_layers: tuple[int, ...]
    #: index of the first block that may attend across views, -1 for none. From this block on, the
    #: camera token takes the place of the class token.
    alt_start: int
    #: index of the first block that normalises queries and keys, -1 for none
    qknorm_start: int
    #: index of the first block with rotary positions, -1 for none
    rope_start: int
    #: whether the head also gets the tokens of the latest block that attended within a view
    cat_token: bool
    #: whether the head normalises its tokens and adds positions to its feature maps (DualDPT)
    has_planes: bool
    #: whether the network gives a second map, which shows where sky is
    has_sky: bool


def build(tensors: Mapping[str, Tensor], plan: Plan) -> Any:
    """The network as a torch module, which maps pixels [n, 3, h, w] to distance [n, h, w].

    With ``plan.has_sky`` the output is [n, 2, h, w]: distance, and a map that is large where the
    photo shows sky.

    Args:
        tensors: the tensors of the checkpoint's file, float32, by name without ``model.``.
        plan: the variant.

    Raises:
        Exception: tensors are missing or their shapes do not fit together.
    """
    import torch

    class Depth(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, tensor in tensors.items():
                _place(self, name, torch.nn.Parameter(tensor, requires_grad=False))
            for name, array in _tables().items():
                self.register_buffer(name, torch.from_numpy(array), persistent=False)

        def forward(self, pixels: Tensor) -> Tensor:
            return _head(self, plan, _tokens(self, plan, pixels), pixels)

    module = Depth().eval()
    # A run on the meta device, which computes shapes only and runs no kernels, raises an exception
    # if a tensor is missing or its shape does not fit.
    meta = {name: tensor.to("meta") for name, tensor in module.state_dict().items()}
    meta |= {name: tensor.to("meta") for name, tensor in module.named_buffers()}
    blank = torch.empty(1, 3, 2 * PATCH, 3 * PATCH, device="meta")
    torch.func.functional_call(module, meta, (blank,))
    return module


def _place(root: Any, name: str, parameter: Any) -> None:
    """Register a parameter under a dotted name, in submodules that are created as needed."""
    import torch

    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, torch.nn.Module())
        root = root._modules[part]
    root.register_parameter(last, parameter)


def _tables() -> dict[str, FloatArray]:
    """Tables of numbers that depend neither on the weights nor on the photo.

    They are computed in advance, because positions would become inexact in reduced precision.
    ``resize[n]`` is a matrix [MAX_PATCHES, 37] whose first n rows resize the position embedding to
    n rows or columns. Row i of ``cosine`` and ``sine`` is the rotary embedding of position i.
    """
    resize = np.zeros((MAX_PATCHES + 1, MAX_PATCHES, _GRID))
    for n in range(1, MAX_PATCHES + 1):
        at = (np.arange(n) + 0.5) * _GRID / (n + _OFFSET) - 0.5
        left = np.floor(at).astype(int)
        for step in (-1, 0, 1, 2):
            columns = np.clip(left + step, 0, _GRID - 1)
            np.add.at(resize[n], (np.arange(n), columns), _cubic(np.abs(at - left - step)))
    quarter = HEAD_WIDTH // 4
    speeds = _ROTARY_BASE ** -(np.arange(quarter) / quarter)
    angles = np.tile(np.arange(MAX_PATCHES + 1)[:, None] * speeds, 2)
    tables = {"resize": resize, "cosine": np.cos(angles), "sine": np.sin(angles)}
    return {name: table.astype(np.float32) for name, table in tables.items()}


def _cubic(distance: Any) -> Any:
    """Weight of a point in bicubic interpolation (Keys 1981)."""
    a, x = _CUBIC, distance
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _tokens(net: Any, plan: Plan, pixels: Tensor) -> list[Tensor]:
    """The tokens of the patches after each of the ``plan.out_layers``, each [n, patches, width]."""
    import torch
    import torch.nn.functional as F

    vit = net.backbone.pretrained
    count, rows, columns = pixels.shape[0], pixels.shape[2] // PATCH, pixels.shape[3] // PATCH
    projection = vit.patch_embed.proj
    patches = F.conv2d(pixels, projection.weight, projection.bias, stride=PATCH)
    first = (vit.cls_token + vit.pos_embed[:, :1]).expand(count, -1, -1)
    patches = patches.flatten(2).transpose(1, 2) + _positions(net, vit, rows, columns)
    tokens = torch.cat((first, patches), dim=1)
    within, across = _rotations(net, rows, columns)
    latest, taken = tokens, []
    for i in range(len(vit.blocks._modules)):
        if i == plan.alt_start:
            camera = vit.camera_token[:, :1].expand(count, -1, -1)
            tokens = latest = torch.cat((camera, tokens[:, 1:]), dim=1)
        is_across = -1 < plan.alt_start <= i and i % 2 == 1
        rotation = (across if is_across else within) if -1 < plan.rope_start <= i else None
        block = vit.blocks._modules[str(i)]
        tokens = _block(block, tokens, -1 < plan.qknorm_start <= i, rotation)
        if not is_across:
            latest = tokens
        if i in plan.out_layers:
            seen = _normalised(tokens, vit.norm)
            taken.append((torch.cat((latest, seen), dim=-1) if plan.cat_token else seen)[:, 1:])
    return taken


def _positions(net: Any, vit: Any, rows: Any, columns: Any) -> Tensor:
    """The position embedding of the patches, resized bicubically to [1, rows * columns, width]."""
    grid = vit.pos_embed[0, 1:].reshape(_GRID, -1)  # [row, column and channel]
    tall = (net.resize[rows][:rows] @ grid).reshape(rows, _GRID, -1)
    positions: Tensor = net.resize[columns][:columns] @ tall
    return positions.reshape(1, rows * columns, -1)


def _rotations(net: Any, rows: Any, columns: Any) -> tuple[Any, Any]:
    """Cosines and sines [tokens, HEAD_WIDTH] of rotary positions, within a view and across views.

    The first half of the features encodes the row, the second half the column. The class or camera
    token is at position 0. Within a view, rows and columns of patches are numbered from 1; across
    views, all patches are at position 1.
    """
    import torch

    within, across = [], []
    for table in (net.cosine, net.sine):
        half = table.shape[1]
        down = table[1 : rows + 1][:, None].expand(-1, columns, -1).reshape(-1, half)
        right = table[1 : columns + 1][None].expand(rows, -1, -1).reshape(-1, half)
        first = torch.cat((table[:1], table[:1]), dim=1)
        same = torch.cat((table[1:2], table[1:2]), dim=1).expand(rows * columns, -1)
        within.append(torch.cat((first, torch.cat((down, right), dim=1))))
        across.append(torch.cat((first, same)))
    return tuple(within), tuple(across)


def _block(block: Any, tokens: Tensor, has_norm: bool, rotation: Any) -> Tensor:
    """One block of the transformer."""
    import torch.nn.functional as F

    seen = _normalised(tokens, block.norm1, _BLOCK_EPSILON)
    tokens = tokens + block.ls1.gamma * _attention(block.attn, seen, has_norm, rotation)
    seen = _normalised(tokens, block.norm2, _BLOCK_EPSILON)
    seen = _linear(F.gelu(_linear(seen, block.mlp.fc1)), block.mlp.fc2)
    added: Tensor = tokens + block.ls2.gamma * seen
    return added


def _attention(layer: Any, tokens: Tensor, has_norm: bool, rotation: Any) -> Tensor:
    import torch.nn.functional as F

    count, length = tokens.shape[0], tokens.shape[1]
    query, key, value = (
        each.reshape(count, length, -1, HEAD_WIDTH).transpose(1, 2)
        for each in _linear(tokens, layer.qkv).chunk(3, dim=-1)
    )
    if has_norm:
        query, key = _normalised(query, layer.q_norm), _normalised(key, layer.k_norm)
    if rotation is not None:
        query, key = _rotated(query, *rotation), _rotated(key, *rotation)
    mixed = F.scaled_dot_product_attention(query, key, value)
    return _linear(mixed.transpose(1, 2).reshape(count, length, -1), layer.proj)


def _rotated(features: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate pairs of features; the two of a pair lie a quarter of the features apart."""
    import torch

    a, b, c, d = features.chunk(4, dim=-1)
    return features * cosine + torch.cat((-b, a, -d, c), dim=-1) * sine


def _head(net: Any, plan: Plan, taken: list[Tensor], pixels: Tensor) -> Tensor:
    """Computes distance, and sky if the network estimates it, from the tokens of four blocks."""
    import torch
    import torch.nn.functional as F

    head, scratch = net.head, net.head.scratch
    height, width = pixels.shape[2], pixels.shape[3]
    rows, columns = height // PATCH, width // PATCH
    maps = []
    for i, tokens in enumerate(taken):
        seen = _normalised(tokens, head.norm) if plan.has_planes else tokens
        grid = seen.transpose(1, 2).reshape(seen.shape[0], -1, rows, columns)
        grid = _conv(grid, head.projects._modules[str(i)])
        if plan.has_planes:
            grid = grid + _plane(grid, rows, columns, height, width)
        maps.append(grid)
    up4, up2, down2 = (head.resize_layers._modules[i] for i in "013")
    maps[0] = F.conv_transpose2d(maps[0], up4.weight, up4.bias, stride=4)
    maps[1] = F.conv_transpose2d(maps[1], up2.weight, up2.bias, stride=2)
    maps[3] = F.conv2d(maps[3], down2.weight, down2.bias, stride=2, padding=1)
    maps = [
        F.conv2d(each, getattr(scratch, f"layer{i}_rn").weight, padding=1)
        for i, each in enumerate(maps, 1)
    ]
    sizes = [(8 * rows, 8 * columns), *(each.shape[2:] for each in maps[:3])]
    fused = _fused(scratch.refinenet4, None, maps[3], sizes[3])
    for i in (3, 2, 1):
        unit = getattr(scratch, f"refinenet{i}")
        fused = _fused(unit, fused, maps[i - 1], sizes[i - 1])
    fused = _enlarged(_conv(fused, scratch.output_conv1), (height, width))
    if plan.has_planes:
        fused = fused + _plane(fused, height, width, height, width)
    depth = _map(fused, scratch.output_conv2).exp()
    if not plan.has_sky:
        return depth[:, 0]
    return torch.cat((depth, _map(fused, scratch.sky_output_conv2).relu()), dim=1)


def _fused(unit: Any, coarse: Tensor | None, fine: Tensor, size: Any) -> Tensor:
    """Add a finer feature map to a coarser one, then refine and enlarge the sum."""
    both = fine if coarse is None else coarse + _refined(unit.resConfUnit1, fine)
    return _conv(_enlarged(_refined(unit.resConfUnit2, both), size), unit.out_conv)


def _refined(unit: Any, grid: Tensor) -> Tensor:
    return _conv(_conv(grid.relu(), unit.conv1).relu(), unit.conv2) + grid


def _enlarged(grid: Tensor, size: Any) -> Tensor:
    import torch.nn.functional as F

    return F.interpolate(grid, size=size, mode="bilinear", align_corners=True)


def _map(grid: Tensor, layers: Any) -> Tensor:
    """The first channel [n, 1, h, w] of the layers' output, before the activation function.

    Some checkpoints have a second channel, a confidence, which is not needed. The result is always
    float32, because bfloat16 is coarser than the levels of an 8-bit map. The last convolution is
    written as a product and a sum, because OpenVINO would round a convolution to bfloat16.
    """
    inner, last = layers._modules["0"], layers._modules["2"]
    features = _conv(grid, inner).relu().float()
    summed = (features * last.weight[0].float()).sum(1, keepdim=True)
    logits: Tensor = summed + last.bias[0].float()
    return logits


def _plane(grid: Tensor, rows: Any, columns: Any, height: Any, width: Any) -> Tensor:
    """The position encoding [channels, rows, columns] to add to a feature map of these sizes.

    Sines and cosines of the horizontal position fill the first half of the channels, those of the
    vertical position the second. Positions are scaled so that half the photo's diagonal is 1.
    """
    import torch

    quarter = grid.shape[1] // 4
    diagonal = (height * height + width * width) ** 0.5
    speeds = torch.arange(quarter, device=grid.device, dtype=torch.float32) / quarter
    speeds = _PLANE_BASE**-speeds
    parts = []
    for count, edge in ((columns, width), (rows, height)):
        steps = torch.arange(count, device=grid.device, dtype=torch.float32)
        at = (2 * steps - (count - 1)) / count * (edge / diagonal)
        angles = speeds[:, None] * at
        parts.append(_PLANE_SHARE * torch.cat((angles.sin(), angles.cos())))
    right, down = parts
    across = right[:, None].expand(-1, rows, -1)
    along = down[:, :, None].expand(-1, -1, columns)
    return torch.cat((across, along)).to(grid.dtype)


def _normalised(tokens: Tensor, norm: Any, epsilon: float = _EPSILON) -> Tensor:
    import torch.nn.functional as F

    return F.layer_norm(tokens, norm.weight.shape, norm.weight, norm.bias, epsilon)


def _linear(tokens: Tensor, layer: Any) -> Tensor:
    import torch.nn.functional as F

    return F.linear(tokens, layer.weight, layer.bias)


def _conv(grid: Tensor, layer: Any) -> Tensor:
    """A convolution that keeps the height and width."""
    import torch.nn.functional as F

    return F.conv2d(grid, layer.weight, layer.bias, padding=layer.weight.shape[2] // 2)

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes seeded random weights and pictures."""

from __future__ import annotations

import math
import re
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

SEED = 20261120


class Draw:
    """Draws normally distributed numbers from one seeded generator; the order of calls matters."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, std: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=self.generator) * std

    def smooth_grid(self, n: int, channels: int, modes: int = 4, std: float = 1.0) -> Tensor:
        """Return [n*n, channels]: random sums of a few low-frequency cosines over an n x n grid."""
        position = (torch.arange(n) + 0.5) / n
        basis = torch.stack([torch.cos(math.pi * k * position) for k in range(modes)])
        fall = 1 / torch.arange(1, modes + 1)
        coefficients = self(channels, modes, modes) * fall[:, None] * fall[None, :]
        coefficients[:, 0, 0] *= 0.3
        grid = torch.einsum("cij,iy,jx->yxc", coefficients, basis, basis).reshape(n * n, channels)
        return grid / grid.std() * std

    def position_embeddings(self, n: int, channels: int) -> Tensor:
        """Return [1 + n*n, channels]: the embedding of the class token, then a smooth grid."""
        return torch.cat([self(1, channels, std=0.3), self.smooth_grid(n, channels, std=0.35)])

    def patch_filter(self, out: int, size: int) -> Tensor:
        """Return [out, 3, size, size]: filters over one patch, mostly of low frequency."""
        low = self.smooth_grid(size, out * 3, modes=3).T.reshape(out, 3, size, size)
        filters = low + 0.15 * self(out, 3, size, size)
        # This scale makes the filters give values of about one for a patch of a normalised picture.
        norm = filters.flatten(1).norm(dim=1)[:, None, None, None]
        scaled: Tensor = filters / (norm * math.sqrt(size * 1.5))
        return scaled

    def block(self, name: str, shape: torch.Size, residual: float) -> Tensor:
        """Return a tensor of a transformer block; its distribution depends on its name."""
        if len(shape) == 1:
            if "norm" in name and name.endswith("weight"):
                return torch.exp(self(*shape, std=0.2))
            if "lambda1" in name:
                return residual * torch.exp(self(*shape, std=0.3))
            return self(*shape, std=0.05)
        if len(shape) != 2:
            raise ValueError(f"no rule for {name} {tuple(shape)}")
        std = 1 / math.sqrt(shape[1])
        if re.search(r"(q_proj|k_proj|query|key)\.weight", name):
            std *= 1.3
        elif re.search(r"(o_proj|out_proj|output\.dense|fc2)\.weight", name):
            std *= 1.5  # because attention or activation functions shrink these layers' inputs
        return self(*shape, std=std)


@cache
def pictures(count: int, height: int, width: int, seed: int) -> Tensor:
    """Return [count, 3, height, width] in 0..1: gradients, soft blobs, discs and a little grain.

    They are kept for the next network that is made in this process; nobody changes them.
    """
    draw = Draw(seed)
    y = torch.linspace(0, 1, height)[:, None]
    x = torch.linspace(0, 1, width)[None, :]
    return torch.stack([_picture(draw, y, x) for _ in range(count)])


def _picture(draw: Draw, y: Tensor, x: Tensor) -> Tensor:
    height, width = y.shape[0], x.shape[1]
    image = torch.zeros(3, height, width)
    for channel in range(3):
        a = draw(4)
        image[channel] += 0.25 * (a[0] * x + a[1] * y) + 0.1 * torch.sin(6 * (a[2] * x + a[3] * y))
    for cells, amplitude in ((3, 0.30), (9, 0.15), (40, 0.06)):
        blobs = F.interpolate(draw(1, 3, cells, cells), (height, width), mode="bicubic")
        image += amplitude * blobs[0]
    for _ in range(8):
        row, column, radius = torch.rand(3, generator=draw.generator).tolist()
        disc = (y - row) ** 2 + (x - column) ** 2 < (0.03 + 0.2 * radius) ** 2
        image += disc * draw(3, std=0.25)[:, None, None]
    image += draw(3, height, width, std=0.01)
    return torch.sigmoid(1.5 * image)


def normalise(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """Normalise each channel, as transformers' image processors do."""
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

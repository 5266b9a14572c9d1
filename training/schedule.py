# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Contains what both trainings share: device, batches made ahead, optimizers and learning rate."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

import torch

from benchmarks.machine import has_bf16

Batch = TypeVar("Batch")
#: The number of threads or processes that make batches while the main thread trains.
MAKERS = max(1, len(os.sched_getaffinity(0)) - 1)
_WARM_UP = 0.04  # the share of all steps in which the rate rises
_FLOOR = 0.02  # the last rate, as a share of the highest rate


def device() -> torch.device:
    """Return a GPU (CUDA or ROCm) if there is one, and the CPU otherwise.

    Training on a GPU has not been measured yet.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_fast_bf16(place: torch.device) -> bool:
    """Return whether bf16 is faster than float32 there; a CPU without bf16 units emulates it."""
    return place.type != "cpu" or has_bf16()


def ahead(makers: Executor, make: Callable[[int], Batch], steps: int, most: int) -> Iterator[Batch]:
    """Yield ``make(0)`` to ``make(steps - 1)``; ``makers`` work up to ``most`` steps ahead."""
    waiting = deque(makers.submit(make, step) for step in range(min(most, steps)))
    for step in range(most, steps + most):
        batch = waiting.popleft().result()
        if step < steps:
            waiting.append(makers.submit(make, step))
        yield batch


class Optimizer:
    """Optimises the matrices of transformer blocks with Muon, and everything else with AdamW.

    Muon (Jordan et al., 2024) is scaled to AdamW's step as in Liu et al., "Muon is scalable for LLM
    training", 2025, so that one rate suits both. In an hour of training it gets further than AdamW.
    """

    def __init__(self, network: torch.nn.Module, rate: float, steps: int) -> None:
        named = [(name, each) for name, each in network.named_parameters() if each.requires_grad]
        inner = [each for name, each in named if _is_matrix_of_a_block(name, each)]
        others = [each for name, each in named if not _is_matrix_of_a_block(name, each)]
        self._all = inner + others
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(inner, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=rate, weight_decay=0.0, betas=(0.9, 0.98)),
        ]
        self._rate, self._steps, self._step = rate, steps, 0

    def step(self, loss: torch.Tensor) -> float:
        """Update the weights by the gradients of a loss, and return the loss as a number."""
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._all, 1.0)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._rate * self._share()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._step += 1
        return float(loss.detach())

    def _share(self) -> float:
        """Return the share of the highest rate.

        It rises linearly, then falls along half a cosine.
        """
        warm = max(1, int(_WARM_UP * self._steps))
        if self._step < warm:
            return (self._step + 1) / warm
        done = (self._step - warm) / max(1, self._steps - warm)
        return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Average:
    """Keeps a running mean of the weights, which is less random than the weights at the end."""

    def __init__(self, network: torch.nn.Module, keep: float) -> None:
        self._network = network
        self._mean = {name: value.detach().clone() for name, value in self._values()}
        self._keep, self._count = keep, 0

    @torch.no_grad()
    def update(self) -> None:
        """Add the current weights to the mean; call this after each step."""
        self._count += 1
        keep = min(self._keep, self._count / (self._count + 10))
        for name, value in self._values():
            self._mean[name].lerp_(value, 1 - keep)

    @torch.no_grad()
    def apply(self) -> None:
        """Replace the network's weights by their mean; call this at the end."""
        for name, value in self._values():
            value.copy_(self._mean[name])

    def values(self) -> dict[str, torch.Tensor]:
        """Return a copy of the mean weights so far."""
        return {name: value.clone() for name, value in self._mean.items()}

    def _values(self) -> Iterable[tuple[str, torch.Tensor]]:
        return self._network.named_parameters()


def _is_matrix_of_a_block(name: str, parameter: torch.Tensor) -> bool:
    is_block = ".layer." in name or ".layers." in name or "resblocks" in name
    return parameter.ndim == 2 and is_block

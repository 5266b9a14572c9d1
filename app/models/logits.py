# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the numbers by which a checkpoint was trained to turn cosines into probabilities.

CLIP learns a factor, ``logit_scale``; its probabilities are a softmax over all labels. SigLIP also
learns ``logit_bias``, and gives each label a probability of its own, by the sigmoid function. Both
names, and the exponential of the factor, are the same in the layouts of open_clip and transformers.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from app.engines.base import LoadError
from app.hub import pickled_weights, weights

_SCALE, _BIAS = "logit_scale", "logit_bias"
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_MOST_FILES = 32  # whose numbers are kept


@dataclass(frozen=True)
class Logits:
    """The logit of an image and a text is ``scale`` times their cosine, plus ``bias``."""

    scale: float
    #: None: the logits of all labels together make probabilities (softmax)
    bias: float | None


def read(file: Path) -> Logits | None:
    """The numbers in a weights file; None if it has no ``logit_scale``. Raises LoadError.

    The file is parsed once, and again only after it has changed.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise LoadError("the weights file cannot be read") from error
    return _read(file, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=_MOST_FILES)
def _read(file: Path, _version: tuple[int, int]) -> Logits | None:
    try:
        found = _pickled(file) if weights.are_pickled(file) else _numbers(file)
    except LoadError:
        raise
    except Exception as error:  # a damaged file makes its parser raise anything
        raise LoadError("the weights file is damaged or cannot be read") from error
    if _SCALE not in found:
        return None
    logits = Logits(math.exp(min(found[_SCALE], 700.0)), found.get(_BIAS))
    if not all(math.isfinite(each) for each in (logits.scale, logits.bias or 0.0)):
        raise LoadError("the checkpoint's logit_scale or logit_bias is no number")
    return logits


def _numbers(file: Path) -> dict[str, float]:
    """Reads only these two tensors of a safetensors file, without torch."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
        found = {}
        for name in (_SCALE, _BIAS):
            if name in header:
                begin, end = header[name]["data_offsets"]
                opened.seek(8 + length + begin)
                found[name] = _number(opened.read(end - begin), header[name]["dtype"])
    return found


def _number(data: bytes, kind: str) -> float:
    if kind == "BF16":  # the upper half of a float32
        data, kind = b"\0\0" + data, "F32"
    (number,) = np.frombuffer(data, _TYPES[kind])
    return float(number)


def _pickled(file: Path) -> dict[str, float]:
    """Reads them from torch's format, in a thread, for the reason that ``tensors.read`` gives."""
    known = pickled_weights.tensors(file)  # raises if it holds anything but tensors
    names = [name for name in (_SCALE, _BIAS) if name in known]

    def load() -> dict[str, float]:
        import torch

        state: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return {name: float(state[name]) for name in names}

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(load).result() if names else {}

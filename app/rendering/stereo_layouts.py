# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Arranges the two views of a stereo pair in one picture, as players and glasses expect them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from app.rendering import stereo
from app.rendering.maps import FloatArray, Levels
from app.rendering.options import DepthOptions, Size, Stereo

# Dubois' least-squares anaglyph for red-cyan glasses: what each eye's linear RGB contributes to the
# linear RGB of the picture. From E. Dubois, "A projection method to generate anaglyph stereo
# images", ICASSP 2001, vol. 3, pp. 1661-1664.
_RED = ((0.456, 0.500, 0.176), (-0.040, -0.038, -0.016), (-0.015, -0.021, -0.005))
_CYAN = ((-0.043, -0.088, -0.002), (0.378, 0.734, -0.018), (-0.072, -0.113, 1.226))
# Linear light is rounded to this many steps, so that its conversion to sRGB is a look-up in a
# table. At black, where levels of sRGB lie closest, there are 20 steps between two levels.
_STEPS = 2**16


@dataclass(frozen=True)
class Layout:
    """How the views are arranged."""

    #: copies of the view's width and height that the picture has
    across: int = 1
    down: int = 1
    #: whether each view has half of its width, or height
    half: bool = False
    #: ending of file names that players know, with the left eye's view first, and swapped
    ending: str = ""
    swapped: str = ""


#: VR players (Skybox, Pigasus and others) recognise a pair by the end of its name. LR means left
#: and right, TB top and bottom, F full views. iw3 uses the same endings.
LAYOUTS: dict[Stereo, Layout] = {
    "sbs": Layout(across=2, ending="_LRF_Full_SBS", swapped="_RLF_cross"),
    "cross": Layout(across=2, ending="_RLF_cross", swapped="_LRF_Full_SBS"),
    "half-sbs": Layout(across=2, half=True, ending="_LR", swapped="_RL"),
    "tb": Layout(down=2, ending="_TBF_fulltb", swapped="_BTF_fullbt"),
    "half-tb": Layout(down=2, half=True, ending="_TB", swapped="_BT"),
    "anaglyph": Layout(ending="_redcyan", swapped="_cyanred"),
    "left": Layout(ending="_L"),
    "right": Layout(ending="_R"),
}


class Arrangement(Protocol):
    """The options that ``ending`` needs; those of photos and of films have them."""

    @property
    def stereo(self) -> Stereo: ...

    @property
    def swap(self) -> bool: ...


def ending(options: Arrangement) -> str:
    """The end of the name of a pair's file, before the suffix."""
    layout = LAYOUTS[options.stereo]
    return layout.swapped if options.swap else layout.ending


def picture_size(kind: Stereo, view: Size) -> Size:
    """Width and height of the picture that ``arranged`` makes of views of this size."""
    layout = LAYOUTS[kind]
    width, height = view
    if layout.half:
        width, height = -(-width // layout.across), -(-height // layout.down)
    return width * layout.across, height * layout.down


def arranged(
    photo: Levels, disparity: FloatArray, options: DepthOptions, *, is_spread: bool = False
) -> Levels:
    """Render the pair that the options ask for.

    Args:
        photo: [height, width, 3] uint8 RGB; each view gets this size; at most stereo.MAX_WIDTH
            wide.
        disparity: [h, w], larger is nearer.
        options: with ``is_pair``.
        is_spread: whether 0 and 1 of the disparity stand for the farthest and the nearest point,
            whether or not this photo has such points.

    Returns:
        [height, width, 3] uint8 RGB, of the size ``picture_size``.

    Raises:
        ArithmeticError: the disparity has infinite or undefined values.
    """
    kind, layout = options.stereo, LAYOUTS[options.stereo]
    height, width = photo.shape[:2]
    columns, rows = picture_size(kind, (width, height))
    picture = np.empty((rows, columns, 3), np.uint8)
    eyes: tuple[stereo.Eye, ...] = ("left", "right")
    if kind in ("left", "right"):
        eyes = ("left" if kind == "left" else "right",)
    elif (kind == "cross") != options.swap:
        eyes = ("right", "left")
    divergence, convergence = options.divergence, options.convergence
    strips = stereo.strips(photo, disparity, divergence, convergence, eyes, is_spread=is_spread)
    for top, views in strips:
        if kind == "anaglyph":
            picture[top : top + len(views[0])] = anaglyph(*views)
            continue
        for index, view in enumerate(views):
            view = _halved(view, layout) if layout.half else view
            left = index * columns // 2 if layout.across == 2 else 0
            first = top // 2 if layout.half and layout.down == 2 else top
            first += index * rows // 2 if layout.down == 2 else 0
            picture[first : first + len(view), left : left + view.shape[1]] = view
    return picture


def _halved(view: Levels, layout: Layout) -> Levels:
    """The mean of each two columns, or rows; if their number is odd, the last one stays alone."""
    height, width = view.shape[:2]
    odd = height % layout.down, width % layout.across
    if any(odd):
        view = np.pad(view, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        height, width = view.shape[:2]
    size = width // layout.across, height // layout.down
    return np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), np.uint8)


def anaglyph(red: Levels, cyan: Levels) -> Levels:
    """The picture for red-cyan glasses.

    Args:
        red: what the eye behind the red glass is to see, [h, w, 3] uint8 sRGB.
        cyan: the same for the other eye.
    """
    linear = _to_linear()
    mixed = cv2.add(
        cv2.transform(cv2.LUT(red, linear), np.array(_RED, np.float32)),
        cv2.transform(cv2.LUT(cyan, linear), np.array(_CYAN, np.float32)),
    )
    steps = np.clip(mixed * np.float32(_STEPS - 1) + np.float32(0.5), 0, _STEPS - 1)
    return np.asarray(_to_srgb()[steps.astype(np.uint16)], np.uint8)


def _to_linear() -> FloatArray:
    levels = np.arange(256) / 255
    low = levels / 12.92
    return np.where(levels <= 0.04045, low, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _to_srgb() -> Levels:
    linear = np.arange(_STEPS) / (_STEPS - 1)
    high = 1.055 * linear ** (1 / 2.4) - 0.055
    levels = 255 * np.where(linear <= 0.0031308, 12.92 * linear, high)
    return np.asarray(np.rint(levels), np.uint8)

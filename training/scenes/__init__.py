# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Ray-cast scenes with exact depth: ``compose`` draws one at random, ``render`` looks at it."""

from training.scenes.compose import compose
from training.scenes.render import Rendering, render

__all__ = ["Rendering", "compose", "render"]

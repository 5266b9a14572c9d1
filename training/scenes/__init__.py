# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Ray-cast scenes with exact depth: ``imagine`` composes a scene, ``render`` makes its picture."""

from training.scenes.render import Rendering, render
from training.scenes.views import imagine

__all__ = ["Rendering", "imagine", "render"]

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes ray-cast scenes with exact depth: ``imagine`` composes and ``render`` draws one."""

from training.scenes.render import Rendering, render
from training.scenes.views import imagine

__all__ = ["Rendering", "imagine", "render"]

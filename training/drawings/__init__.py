# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes captioned pictures: all captions and drawings of an ``Idea`` have the same meaning."""

from training.drawings.ideas import Idea, imagine

__all__ = ["Idea", "imagine"]

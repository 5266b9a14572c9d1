# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Captioned pictures: an ``Idea`` has many captions and many drawings, all of the same meaning."""

from training.drawings.ideas import Idea, imagine

__all__ = ["Idea", "imagine"]

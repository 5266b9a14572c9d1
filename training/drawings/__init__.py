# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Captioned pictures: an ``Idea`` has many captions and drawings, all with the same meaning."""

from training.drawings.ideas import Idea, imagine

__all__ = ["Idea", "imagine"]

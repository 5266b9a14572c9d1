# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Engines: how a network runs. What goes in and what comes out means is the families' business."""

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Turns a client's image file into an upright RGB picture, and prepares pictures for networks."""

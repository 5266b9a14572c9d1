# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app models``: lists, adds, checks and removes models."""

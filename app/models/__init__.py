# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Models: where checkpoints lie, how they are loaded, what they compute."""

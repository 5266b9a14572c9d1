# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checkpoints on disk, and their download from the Hugging Face hub ("the hub")."""

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Decodes images in separate processes with limited CPU time and memory, which can be killed."""

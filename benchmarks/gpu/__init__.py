# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures Twinlens on a GPU, and compares it with the most that the GPU can do.

Each part is measured in a separate process. An error of the device therefore costs only the figures
of the part in which it occurs, and memory that one part leaves in use does not affect the next.
"""

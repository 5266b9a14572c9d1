# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures Twinlens on a GPU, and compares it with the most that the GPU can do.

Each part is measured in a process of its own. So an error of the device costs only the figures of
the part in which it occurs, and no part is affected by memory that another has left in use.
"""

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Contains the benchmarks, and makes random-weight checkpoints for them, the tests and the demo."""

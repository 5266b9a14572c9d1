# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Benchmarks, and the random-weight checkpoints that they, the tests and the demo run on."""

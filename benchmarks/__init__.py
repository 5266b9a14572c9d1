# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measurements, and the random checkpoints that they, the tests and the demo run on."""

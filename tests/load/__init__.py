# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Long runs: ``make soak`` and ``make chaos``, each with a short form among the tests."""

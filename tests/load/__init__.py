# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Long runs, ``make soak`` and ``make chaos``, of which the tests run a short form."""

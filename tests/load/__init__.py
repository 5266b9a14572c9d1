# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Contains the long runs ``make soak`` and ``make chaos``, of which the tests run a short form."""

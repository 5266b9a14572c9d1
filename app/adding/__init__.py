# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Adds models to the user's table, for the command line and for ``POST /api/models``."""

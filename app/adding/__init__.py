# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Adds models to the user's table of models, for the command line and ``POST /api/models``."""

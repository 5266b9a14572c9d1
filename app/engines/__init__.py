# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Engines run networks on devices; the families (``app.models``) interpret inputs and outputs."""

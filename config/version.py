# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The version of Twinlens."""

VERSION = "1.0.0"

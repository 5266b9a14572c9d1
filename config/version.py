# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The version of Twinlens."""

VERSION = "0.1.0"

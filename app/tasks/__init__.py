# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The tasks that clients request: each file shows the path of one request from top to bottom."""

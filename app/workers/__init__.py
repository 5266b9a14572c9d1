# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What the worker processes share: orders to load models, status reports, crashes, metrics."""

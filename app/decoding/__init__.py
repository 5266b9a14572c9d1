# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Decoding where it can be stopped: in processes of their own, with bounded time and memory."""

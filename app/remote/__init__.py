# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Fetches images from other hosts, with limits on addresses, time and bytes."""

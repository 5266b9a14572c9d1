# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Images that are fetched from other hosts: allowed addresses, time and byte limits."""

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Jobs: films that are made after their request was answered, and whose results wait on disk."""

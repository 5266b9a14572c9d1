# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Films for tests: numbered frames, small rendered ones, and what the writer makes."""

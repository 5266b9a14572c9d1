# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Large collections of pictures: where they come from, and the tables that describe them."""

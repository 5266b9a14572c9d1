# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""HTTP in, HTTP out: the only code that knows Flask."""

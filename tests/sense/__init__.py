# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Whether answers make sense, on the built-in models, which are really trained."""

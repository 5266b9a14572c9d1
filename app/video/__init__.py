# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Films: reading, steady depth, writing, and the process that does all of it for one film."""

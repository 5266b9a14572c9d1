# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The machine that the service runs on: memory, cores, files, threads and processes."""

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``embed`` and ``depth`` on many machines, as a Ray Data job.

ray is imported inside functions only: it is optional (config/requirements-cluster.txt).
"""

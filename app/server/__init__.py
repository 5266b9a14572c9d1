# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""gunicorn's master and worker processes, request bodies, and responses on their way out."""

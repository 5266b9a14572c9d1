# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The command line: photos of folders through the same runtime, in one process, without HTTP."""

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The command line: processes folders of photos in one process, without HTTP."""

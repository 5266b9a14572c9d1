# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Turns a disparity map into the picture or file that a client asked for."""

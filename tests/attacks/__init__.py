# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Untrusted input, a module for each class of attack, against the real process."""

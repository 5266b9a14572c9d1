# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Attacks a running service with untrusted input; there is a module for each class of attack."""

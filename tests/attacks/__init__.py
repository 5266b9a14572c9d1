# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Attacks with untrusted input on a running service, with a module for each class of attack."""

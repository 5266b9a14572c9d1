# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Loads each network once in a process, and lends it to the requests of that process."""

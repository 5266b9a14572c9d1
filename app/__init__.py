# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Twinlens: photos to depth maps, images to vectors, behind one HTTP API.

Nothing is imported here: the decoding processes need a small part of the program only.
"""

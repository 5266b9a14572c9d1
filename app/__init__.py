# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Twinlens: photos to depth maps, images to vectors, behind one HTTP API.

This package imports nothing, because the decoding processes need only a small part of it.
"""

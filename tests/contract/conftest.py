# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The fixtures of ``tests.services``."""

from tests.services import base, managed, nginx, start

__all__ = ["base", "managed", "nginx", "start"]

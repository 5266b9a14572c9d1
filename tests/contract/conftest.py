# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes the fixtures of ``tests.services`` available to the contract tests."""

from tests.services import base, managed, nginx, start

__all__ = ["base", "managed", "nginx", "start"]

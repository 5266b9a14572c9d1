# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines the fixtures for attacks, with a host that stands for the public internet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.hosts import Host
from tests.attacks.remote import PUBLIC
from tests.services import base, managed, nginx, start

__all__ = ["base", "managed", "nginx", "start"]


@pytest.fixture(scope="module")
def public() -> Iterator[Host]:
    with Host(PUBLIC).running() as host:
        yield host

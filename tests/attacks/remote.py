# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes fetchers for the tests of remote URLs.

PUBLIC stands for the public internet, INSIDE for the private network behind the service.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.remote.fetch import Fetcher

PUBLIC, INSIDE = "127.0.0.1", "127.0.0.2"


def fetcher(**changes: Any) -> Fetcher:
    options: dict[str, Any] = {
        "enabled": True,
        "hosts": (),
        "private_networks": (f"{PUBLIC}/32",),
        "max_bytes": 1_000_000,
        "seconds": 1,
    }
    return Fetcher(**options | changes)


def names(table: dict[str, list[list[str]]]) -> Callable[[str, int], list[str]]:
    """Make a resolver that gives a name's answers in the table one by one, and repeats the last."""

    def resolver(host: str, _: int) -> list[str]:
        answers = table[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    return resolver


def fetched(by: Fetcher, url: str) -> bytes:
    """Return the bytes that a fetcher gets from a URL."""
    with by.fetch(url) as file:
        return file.read()

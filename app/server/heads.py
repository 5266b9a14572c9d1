# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tells from the head of a request which threads are to answer it."""

from __future__ import annotations

import re
from typing import Literal

_PROBE = re.compile(rb"(GET|HEAD) /(health|ready)(\?[!-~]*)? HTTP/1\.[01]\r\n")
# A path that is surely not the result of a job, which may be followed for hours: it has neither
# "result" nor an escape (%) in it. The address begins with it, not with a scheme and a host.
_PAGE = re.compile(rb"(GET|HEAD) /(?![^ ?]*result)[^ %?]*[ ?]")
_HAS_BODY = re.compile(rb"\r\n(content-length|transfer-encoding|expect):", re.IGNORECASE)


def kind(head: bytes) -> Literal["probe", "page", "other"]:
    """What a request is.

    "probe" and "page" are answered at once: the head is complete, there is no body, and the thread
    never waits for the client.

    Args:
        head: the bytes of the request that have arrived.
    """
    end = head.find(b"\r\n\r\n")
    if end < 0 or not _PAGE.match(head) or _HAS_BODY.search(head, 0, end):
        return "other"
    return "probe" if _PROBE.match(head) else "page"

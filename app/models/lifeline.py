# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""For the processes that the service starts: they end with it, however it went."""

from __future__ import annotations

import os
import threading


def end_with_the_service(life: int) -> None:
    """End this process at once when the last process of the service is gone.

    Args:
        life: the reading end of a pipe (``Board.life``) whose other end each of those holds open.
    """
    threading.Thread(target=_wait, args=(life,), daemon=True).start()


def _wait(life: int) -> None:
    os.read(life, 1)  # nobody writes: it returns when the last writer is gone
    os._exit(0)

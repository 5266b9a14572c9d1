# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""For the processes that the service starts: they end with it, however it went."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Have the kernel send this process SIGTERM when its parent ends, even by SIGKILL.

    Linux only; elsewhere gunicorn's worker looks after its parent once a second.

    Args:
        parent: the process that forked this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was faster
            os.kill(os.getpid(), signal.SIGTERM)


def end_with_the_service(life: int) -> None:
    """End this process at once when the last process of the service is gone.

    Args:
        life: the reading end of a pipe (``SharedState.life``); each of those holds the other end.
    """
    threading.Thread(target=_wait, args=(life,), daemon=True).start()


def _wait(life: int) -> None:
    os.read(life, 1)  # nobody writes: it returns when the last writer is gone
    os._exit(0)

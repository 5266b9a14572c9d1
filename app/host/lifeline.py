# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Ends processes that the service has started when the service ends, even if it was killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Make the kernel send SIGTERM to this process when its parent ends for any reason.

    This works only on Linux. On other systems gunicorn's workers check once a second whether their
    parent lives.

    Args:
        parent: the process that forked this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent ended before the call above
            os.kill(os.getpid(), signal.SIGTERM)


def end_with_the_service(life: int) -> None:
    """Start a thread that ends this process when the last process of the service has ended.

    Args:
        life: the reading end of the pipe ``SharedState.life``. Every process of the service holds
            the writing end open.
    """
    threading.Thread(target=_wait, args=(life,), daemon=True).start()


def _wait(life: int) -> None:
    os.read(life, 1)  # nothing is ever written: this returns when the last writing end is closed
    os._exit(0)

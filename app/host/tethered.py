# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Becomes another program: ``python -m app.host.tethered PARENT FOLDER PROGRAM ARGUMENT ...``.

The program works in FOLDER. The kernel kills it when the thread of the process PARENT that started
it ends for any reason, a crash included.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Become the program that the command line names."""
    parent, folder, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # the parent ended before the call above
        sys.exit(1)
    # Core dumps are turned off, because they would contain a client's picture.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(folder)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs decoders that misbehave on files which begin with the name of a fault; see ``FAULTS``.

The tests start this module in place of ``app.decoding.template``. The faults stand for damage that
the checks of a format's structure may miss.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.decoding import decoder, template
from app.pictures.decode import DecodeSize, Picture, decode

_NAME_BYTES = 16


def spin() -> None:
    """Run for ever inside one C function that never checks for signals."""
    sum(range(10**15))


def allocate() -> None:
    held = []
    while True:
        held.append(np.empty(2**26, np.uint8))  # the limit counts it even if it is never written to


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once() -> None:
    """Die only at the first of two attempts, as if memory had run out just then."""
    mark = Path(tempfile.gettempdir(), f"twinlens-test-{os.getppid()}")
    if mark.exists():
        mark.unlink()
    else:
        mark.touch()
        die()


def leave() -> NoReturn:
    os._exit(3)


def fail() -> NoReturn:
    raise RuntimeError("a defect of ours")


FAULTS: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (spin, allocate, crash, stop, die, die_once, leave, fail)
}


def faulty(file: BinaryIO, max_pixels: int, decode_size: DecodeSize, *options: Any) -> Picture:
    name, _, image = file.read().partition(b"\n")
    file.seek(0)
    fault = FAULTS.get(name[:_NAME_BYTES].decode("latin-1"))
    if fault is None:
        return decode(file, max_pixels, decode_size, *options)
    fault()
    with tempfile.TemporaryFile() as rest:
        rest.write(image)
        rest.seek(0)
        return decode(rest, max_pixels, decode_size, *options)


if __name__ == "__main__":
    vars(decoder)["decode"] = faulty
    template.main()

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Room for a model: idle ones go, the least recently used first."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from app.engines.base import DoesNotFit
from app.engines.devices import Device
from app.host import memory
from app.lending.entry import Entry
from app.models.base import NetworkId

log = logging.getLogger("twinlens.models")

# What inference needs beside the weights; measured: benchmarks/peak.py.
_WORKING_BYTES = 256 * 2**20
_SHARED_SECONDS = 3.0


def make_room(
    weights: int, device: Device, others: Iterable[Entry], on_evict: Callable[[NetworkId], object]
) -> None:
    """Unload idle models of a device until another one fits.

    Args:
        weights: bytes of the one that is to be loaded.
        device: where it shall go.
        others: the models of this process but that one.
        on_evict: told each that was unloaded.

    Raises:
        DoesNotFit: also without the idle ones; names what is needed and what is free.
    """
    need = weights + _WORKING_BYTES
    evicted = False
    here = [entry for entry in others if entry.device == device]
    for entry in sorted(here, key=lambda entry: entry.used_at):
        if memory.free(device.type) >= need:
            return
        # One whose lock is taken is about to be used.
        if entry.leases == 0 and entry.lock.acquire(blocking=False):
            entry.loaded, entry.device = None, None
            entry.lock.release()
            log.warning("%s is unloaded: another model needs its memory", entry.id.label)
            memory.clean_up()
            on_evict(entry.id)
            evicted = True
    # On a device that workers share, the others give the same models back a moment later.
    end = time.monotonic() + (_SHARED_SECONDS if evicted and device.is_gpu else 0)
    while (free := memory.free(device.type)) < need and time.monotonic() < end:
        time.sleep(0.05)
    if free < need:
        raise DoesNotFit(f"it needs {need // 2**20} MB of memory and {free // 2**20} MB are free")

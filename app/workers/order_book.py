# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The orders to all workers: one document, of which any worker may write a new version.

Each version is a numbered file. A worker publishes its version with a hard link, which fails if
another worker has already published that number; then it applies its change again, to that newer
version. This needs no lock, so a stopped process cannot block the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from app.host.atomic import scratch

# Number of versions kept on disk, so that a reader can still open a file that it has just listed.
_KEPT = 8
_PREFIX = "orders-"


class Order(BaseModel):
    """An order to load a network on a kind of device, or to unload it (``wanted`` is None)."""

    #: number of the version that gave the order
    number: int
    wanted: Literal["auto", "cpu", "gpu"] | None


class Orders(BaseModel):
    """One version of the document; each new version has a higher number."""

    number: int = 0
    #: number of the version that last ordered all workers to free memory
    clean_up: int = 0
    #: key of the current depth model; None if nobody has chosen one
    chosen: str | None = None
    #: the last order for each network, by ``str(NetworkId)``
    networks: dict[str, Order] = Field(default_factory=dict)

    def must_be_unloaded(self, network: str) -> bool:
        """Whether the last order for a network was to unload it."""
        order = self.networks.get(network)
        return order is not None and order.wanted is None


class OrderBook:
    """Reads and writes the versions of the document."""

    def __init__(self, folder: Path) -> None:
        """Use a folder that all workers share."""
        self._folder = folder

    def read(self) -> Orders:
        """The newest version. Raises OSError."""
        while True:
            versions = self._versions()
            if not versions:
                return Orders()
            # If the file is gone, newer versions have replaced it: list the files again.
            with suppress(FileNotFoundError):
                return Orders.model_validate_json(self._path(versions[-1]).read_bytes())

    def change(self, change: Callable[[Orders], None]) -> Orders:
        """Publish a changed copy of the newest version, and return it.

        Args:
            change: changes the document in place; the document already has its new number. It is
                called again, with a newer version, if another worker was faster.

        Raises:
            OSError: it cannot be written.
        """
        while True:
            orders = self.read()
            orders.number += 1
            change(orders)
            if self._publish(orders):
                return orders

    def _publish(self, orders: Orders) -> bool:
        fresh = scratch(self._folder / "orders")
        try:
            fresh.write_text(orders.model_dump_json(), encoding="utf-8")
            os.link(fresh, self._path(orders.number))
        except FileExistsError:
            return False
        finally:
            fresh.unlink(missing_ok=True)
        versions = self._versions()
        for old in versions[:-_KEPT]:
            self._path(old).unlink(missing_ok=True)
        # A process that was suspended for long may have published an old number anew, whose file
        # was already deleted. Such a version is not in force: the caller has to try again.
        return versions[-1] < orders.number + _KEPT

    def _versions(self) -> list[int]:
        names = [path.name for path in self._folder.glob(f"{_PREFIX}*")]
        return sorted(int(name.removeprefix(_PREFIX)) for name in names)

    def _path(self, number: int) -> Path:
        return self._folder / f"{_PREFIX}{number}"

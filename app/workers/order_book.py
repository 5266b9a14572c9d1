# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What all workers are told to hold and to do: a document that any worker may replace.

Each version is a file of its own, and a version is made by a link that fails where another worker
was faster: then the change is made again, to what that one wrote. So there is no lock that a
stopped process could hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from app.host.atomic import scratch

# Old versions that stay, for readers that have just read the names.
_KEPT = 8
_PREFIX = "orders-"


class Order(BaseModel):
    """Load a network, or unload it where no device is wanted."""

    number: int
    wanted: Literal["auto", "cpu", "gpu"] | None


class Orders(BaseModel):
    """One version of the document; numbers grow."""

    number: int = 0
    clean_up: int = 0
    #: key of the depth model that was made current last
    chosen: str | None = None
    #: by ``str(NetworkId)``
    networks: dict[str, Order] = Field(default_factory=dict)


class OrderBook:
    """Its versions, in a folder that all workers share."""

    def __init__(self, folder: Path) -> None:
        """Use a folder."""
        self._folder = folder

    def read(self) -> Orders:
        """The newest version. Raises OSError."""
        while True:
            versions = self._versions()
            if not versions:
                return Orders()
            # One that is gone was replaced by newer ones meanwhile.
            with suppress(FileNotFoundError):
                return Orders.model_validate_json(self._path(versions[-1]).read_bytes())

    def change(self, change: Callable[[Orders], None]) -> Orders:
        """Change the newest version; gives what is in force then.

        Args:
            change: of the document, in place; it may be called several times. Its number is new.

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
        # Who was stopped for long may have taken the number of a version that is gone.
        return versions[-1] < orders.number + _KEPT

    def _versions(self) -> list[int]:
        names = [path.name for path in self._folder.glob(f"{_PREFIX}*")]
        return sorted(int(name.removeprefix(_PREFIX)) for name in names)

    def _path(self, number: int) -> Path:
        return self._folder / f"{_PREFIX}{number}"

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""All workers as one: what they are told to hold and to do.

Orders are one document that any worker writes (order_book.py). Each follows them in its own time
and writes a report; an answer of any worker is made of the reports of all. A worker that is forked
later, also in the place of one that crashed, follows the same orders.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from app.engines.base import LoadError
from app.engines.devices import Device
from app.errors import NotAvailable
from app.host import memory
from app.host.shared_state import SharedState
from app.lending.entry import Wanted
from app.lending.loaded import LoadedNetwork
from app.lending.manager import Manager
from app.lending.registry import networks_of
from app.models.base import NetworkId
from app.workers.crashes import Crashes
from app.workers.order_book import Order, OrderBook, Orders
from app.workers.reports import Reports
from config.models import ModelSpec

log = logging.getLogger("twinlens.workers")

# How long the answer to an order waits for the workers that did not take it.
_LOAD_SECONDS = 10.0
_CLEAN_UP_SECONDS = 5.0
_POLL_SECONDS = 0.02
_FULL_RETRY_SECONDS = 30
# Followed as a network's orders are, under this name, which no network can have.
_CLEAN_UP = "*"

#: Raises where the answer that is waited for has become useless.
CheckCancelled = Callable[[], None]


class Workers:
    """The part of this worker in the whole."""

    def __init__(
        self, shared: SharedState, manager: Manager, networks: Iterable[NetworkId]
    ) -> None:
        self._shared = shared
        self._manager = manager
        self._networks = {str(id): id for id in networks}
        self._specs = {id.spec.key: id.spec for id in self._networks.values()}
        self.reports = Reports(shared, manager, self._networks.values())
        self._book = OrderBook(shared.folder)
        self._crashes = Crashes(shared.folder)
        self._following = threading.Lock()
        manager.on_change = self.reports.write
        manager.on_evict = self.order_unload
        manager.guard = self._guarded

    # -- orders --------------------------------------------------------------------------------

    def order_load(self, id: NetworkId, wanted: Wanted) -> int:
        """Have every worker load a network; gives the number of the order."""
        return self._order(id, wanted)

    def order_unload(self, id: NetworkId) -> int:
        """Have every worker unload it."""
        return self._order(id, None)

    def load(self, id: NetworkId, wanted: Wanted, check_cancelled: CheckCancelled) -> Device:
        """Load a network, whose model is on disk, in every worker; cheap when that is done already.

        Args:
            id: the network.
            wanted: where to.
            look: called now and then while it waits; it may raise to end the wait.

        Raises:
            LoadError: it failed in some worker; the message says why.
        """
        found = [report.networks.get(str(id)) for report in self.reports.all()]
        devices = [each.device if each and each.state == "loaded" else None for each in found]
        before = self._book.read().networks.get(str(id))
        is_leaving = before is not None and before.wanted is None  # not all have followed yet
        serve = all(device is not None and self._serves(device, wanted) for device in devices)
        if serve and not is_leaving:
            assert devices[0] is not None
            return devices[0]
        number = self.order_load(id, wanted)
        self._wait(str(id), number, _LOAD_SECONDS, check_cancelled)
        reports = [each for each in self.reports.all() if each.followed.get(str(id), 0) >= number]
        for report in reports:
            if str(id) in report.failed:
                self._restore(id, number, before)
                raise LoadError(report.failed[str(id)])
        loaded = [each.networks[str(id)].device for each in reports if str(id) in each.networks]
        device = next((device for device in loaded if device is not None), None)
        if device is None:
            raise LoadError("it was unloaded meanwhile")
        return device

    def unload(self, id: NetworkId, check_cancelled: CheckCancelled) -> None:
        """Unload a network in every worker; requests that hold it finish with it."""
        self._wait(str(id), self.order_unload(id), _LOAD_SECONDS, check_cancelled)

    def chosen(self) -> str | None:
        """The key of the depth model that was made current last; None: nobody chose one."""
        with suppress(OSError, ValueError):
            return self._book.read().chosen
        return None

    def choose(self, spec: ModelSpec, wanted: Wanted, check_cancelled: CheckCancelled) -> None:
        """After a load: make a model the current one; the one before is unloaded in every worker.

        Args:
            spec: the model that was loaded.
            wanted: where to.
            look: called now and then while it waits; it may raise to end the wait.

        Raises:
            NotAvailable: the workers cannot be told.
        """
        chosen = networks_of(spec)[0]
        replaced: NetworkId | None = None

        def choose(orders: Orders) -> None:
            nonlocal replaced
            before = self._specs.get(orders.chosen or "")
            replaced = networks_of(before)[0] if before and before != spec else None
            orders.chosen = spec.key
            if replaced is None:
                return
            orders.networks[str(replaced)] = Order(number=orders.number, wanted=None)
            standing = orders.networks.get(str(chosen))
            if standing is None or standing.wanted is None:  # replaced by another load meanwhile
                orders.networks[str(chosen)] = Order(number=orders.number, wanted=wanted)

        number = self._change_orders(choose).number
        if replaced is not None:
            self._wait(str(replaced), number, _LOAD_SECONDS, check_cancelled)

    def forget_choice(self, key: str) -> None:
        """No model is chosen any more, if ``key`` was. Raises NotAvailable."""

        def forget(orders: Orders) -> None:
            if orders.chosen == key:
                orders.chosen = None

        if self.chosen() == key:
            self._change_orders(forget)

    @contextmanager
    def lease(self, id: NetworkId, check_cancelled: CheckCancelled) -> Iterator[LoadedNetwork]:
        """Lend a network, see Manager; where it had to be loaded the other workers load it, too."""
        was_loaded = self._manager.is_loaded(id)
        with self._manager.lease(id, check_cancelled) as loaded:
            # What a worker that is being replaced still needs is nobody else's business.
            if not was_loaded and not self._shared.get("leaving"):
                order = self._book.read().networks.get(str(id))
                if order is None or order.wanted is None:
                    with suppress(NotAvailable):  # a full /dev/shm: then only this worker has it
                        self.order_load(id, "auto")
            yield loaded

    def clean_up(self, check_cancelled: CheckCancelled) -> memory.CleanUp:
        """Clean up in every worker; the sum of what they say, memory of the largest."""

        def order(orders: Orders) -> None:
            orders.clean_up = orders.number

        number = self._change_orders(order).number
        self._wait(_CLEAN_UP, number, _CLEAN_UP_SECONDS, check_cancelled)
        # A worker that is stuck in something long does not count.
        cleaned = [report.cleaned for report in self.reports.all()]
        done = [each for each in cleaned if each is not None] or [memory.clean_up()]
        return memory.CleanUp(
            gc_collected=sum(each.gc_collected for each in done),
            gpu_freed_mb=round(sum(each.gpu_freed_mb for each in done), 1),
            process_rss_mb=max(each.process_rss_mb for each in done),
            gpu_allocated_mb=round(sum(each.gpu_allocated_mb for each in done), 1),
            gpu_reserved_mb=round(sum(each.gpu_reserved_mb for each in done), 1),
        )

    def follow(self) -> None:
        """Do what the orders say and this worker has not done yet, and report."""
        with self._following:
            orders = self._book.read()
            for key, order in orders.networks.items():
                if key in self._networks:  # the table may have changed at a reload
                    self._follow_order(self._networks[key], order)
            if orders.clean_up > self.reports.followed.get(_CLEAN_UP, 0):
                self.reports.cleaned = memory.clean_up()
                self.reports.followed[_CLEAN_UP] = orders.clean_up
        self.reports.write()

    def release_idle_memory(self) -> None:
        """In this worker, when it is idle: give back what it needs only while it works."""
        self._manager.release_idle_memory()

    def unload_idle(self, seconds: float) -> None:
        """Have networks unloaded that no worker used for so long."""
        reports = self.reports.all()
        for key, id in self._networks.items():
            found = [report.networks[key] for report in reports if key in report.networks]
            loaded = [each for each in found if each.state == "loaded"]
            idle = not any(each.in_use for each in found)
            if loaded and idle:
                used_at = max(each.used_at for each in loaded)
                if time.monotonic() - used_at >= seconds:
                    self.order_unload(id)

    @contextmanager
    def _guarded(self, id: NetworkId) -> Iterator[None]:
        """Around a load. Raises LoadError where it has ended several workers a short while ago."""
        crash = self._crashes.of(id.label)
        if crash is not None and crash.pause() > 0:
            raise LoadError(f"{crash.reason()}; the next try is in {crash.pause():.0f} s")
        slot = self._shared.slot
        self._crashes.begin(slot, id.label)
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            self._crashes.end(slot, id.label, succeeded)

    # -- inside --------------------------------------------------------------------------------

    def _order(self, id: NetworkId, wanted: Wanted | None) -> int:
        def order(orders: Orders) -> None:
            orders.networks[str(id)] = Order(number=orders.number, wanted=wanted)

        return self._change_orders(order).number

    def _restore(self, id: NetworkId, number: int, before: Order | None) -> None:
        """After an order that failed: the one that stood before it, unless there is a newer one."""

        def restore(orders: Orders) -> None:
            if str(id) in orders.networks and orders.networks[str(id)].number == number:
                del orders.networks[str(id)]
                if before is not None:
                    orders.networks[str(id)] = before

        self._change_orders(restore)

    def _change_orders(self, change: Callable[[Orders], None]) -> Orders:
        try:
            orders = self._book.change(change)
        except OSError as error:
            raise NotAvailable(
                f"The workers cannot be told: {error.strerror} "
                f"({self._shared.folder.parent}, which the service's processes share); "
                "try again when there is room",
                title="No room",
                retry_after=_FULL_RETRY_SECONDS,
            ) from error
        self._shared.ring()
        return orders

    def _follow_order(self, id: NetworkId, order: Order) -> None:
        is_new = self.reports.followed.get(str(id)) != order.number
        if is_new:
            self.reports.failed.pop(str(id), None)
        if order.wanted is None:
            if is_new:
                self._manager.unload(id)
        elif is_new or not self._manager.is_loaded(id):
            try:
                if not is_new or not self._manager.on_disk(id.spec):
                    # Asks for its download, again if that process died; and after a failure
                    # says no for a while.
                    self._manager.check(id)
                self._manager.load(id, order.wanted)
            except LoadError as error:  # the manager has logged it
                self.reports.failed[str(id)] = str(error)
            except NotAvailable:
                pass  # its status says why
        self.reports.followed[str(id)] = order.number

    def _wait(self, key: str, number: int, seconds: float, check_cancelled: CheckCancelled) -> None:
        """Until all workers have followed; not for ever for one that seems to be stuck.

        A load has no limit: the worker that is asked waits for its own.
        """
        end = None
        while True:
            own, *others = [each.followed.get(key, 0) >= number for each in self.reports.all()]
            if own and all(others):
                return
            if end is None and (own or key == _CLEAN_UP):
                end = time.monotonic() + seconds
            if end is not None and time.monotonic() > end:
                log.warning("not all workers followed an order within %g s", seconds)
                return
            check_cancelled()
            time.sleep(_POLL_SECONDS)

    def _serves(self, device: Device, wanted: Wanted) -> bool:
        if wanted == "auto":
            return True
        return device.is_gpu == (wanted == "gpu" and self._manager.has_gpu())

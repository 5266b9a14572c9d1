# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Orders to all workers, such as to load or unload a network, and how each worker follows them.

The orders are one document that any worker may change (order_book.py). Each worker follows them in
a background thread and writes a report of what it has done (reports.py). Workers that start
later, for example in place of one that crashed, follow the same orders.
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

# The worker that gave an order waits this long for the others, after following the order itself.
_OTHERS_SECONDS = 10.0
_CLEAN_UP_SECONDS = 5.0
_POLL_SECONDS = 0.02
_FULL_RETRY_SECONDS = 30
# Orders carried out so far are kept by the network's name; clean-ups have this key, which no
# network can have.
_CLEAN_UP = "*"

#: Raises if the client has hung up or the service is shutting down, to end a wait.
CheckCancelled = Callable[[], None]


class Workers:
    """Gives orders to all workers, waits until they are followed, and follows them in this one.

    Methods that take ``check_cancelled`` call it repeatedly while they wait; it may raise to end
    the wait. They raise NotAvailable if an order cannot be written because /dev/shm is full.
    """

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
        """Order every worker to load a network; returns the number of the order."""
        return self._order(id, wanted)

    def order_unload(self, id: NetworkId) -> int:
        """Order every worker to unload a network; returns the number of the order."""
        return self._order(id, None)

    def load(self, id: NetworkId, wanted: Wanted, check_cancelled: CheckCancelled) -> Device:
        """Load a network in every worker; this is cheap if all of them have loaded it already.

        Args:
            id: a network whose model is on disk.
            wanted: the kind of device.
            check_cancelled: see the class.

        Returns:
            The device of a worker that has loaded it.

        Raises:
            LoadError: a worker could not load it; the message gives the reason.
        """
        found = [report.networks.get(str(id)) for report in self.reports.all()]
        devices = [each.device if each and each.state == "loaded" else None for each in found]
        orders = self._book.read()
        before = orders.networks.get(str(id))
        if before is not None and before.wanted is not None and not any(devices):
            before = None  # it is that of another load; if both fail, none may be left
        # Workers that still have it may be about to follow an order to unload it.
        is_being_unloaded = orders.must_be_unloaded(str(id))
        serve = all(device is not None and self._serves(device, wanted) for device in devices)
        if serve and not is_being_unloaded:
            assert devices[0] is not None
            return devices[0]
        number = self.order_load(id, wanted)
        self._wait(str(id), number, _OTHERS_SECONDS, check_cancelled)
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
        """Unload a network in every worker; requests that use it can still finish."""
        self._wait(str(id), self.order_unload(id), _OTHERS_SECONDS, check_cancelled)

    def must_be_unloaded(self, id: NetworkId) -> bool:
        """Whether the last order for a network was to unload it."""
        return self._book.read().must_be_unloaded(str(id))

    def last_order(self) -> int:
        """The number of the last order."""
        return self._book.read().number

    def retire(self, id: NetworkId, until: int) -> None:
        """Order to unload a network, unless a later order than number ``until`` is about it.

        A further reload may have made it needed again.
        """

        def retire(orders: Orders) -> None:
            order = orders.networks.get(str(id))
            if order is None or order.number <= until:
                orders.networks[str(id)] = Order(number=orders.number, wanted=None)

        self._change_orders(retire)

    def forget_unload(self, id: NetworkId) -> None:
        """If the last order for a network was to unload it, forget that order."""

        def forget(orders: Orders) -> None:
            if orders.must_be_unloaded(str(id)):
                del orders.networks[str(id)]

        if self.must_be_unloaded(id):
            self._change_orders(forget)

    def chosen(self) -> str | None:
        """The key of the current depth model; None if nobody has chosen one."""
        with suppress(OSError, ValueError):
            return self._book.read().chosen
        return None

    def choose(self, spec: ModelSpec, wanted: Wanted, check_cancelled: CheckCancelled) -> None:
        """Make a loaded depth model the current one, and unload its predecessor in every worker.

        Args:
            spec: the model that was loaded.
            wanted: the kind of device that it was loaded on.
            check_cancelled: see the class.
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
            # Another load may have replaced this model meanwhile and ordered to unload it.
            if standing is None or standing.wanted is None:
                orders.networks[str(chosen)] = Order(number=orders.number, wanted=wanted)

        number = self._change_orders(choose).number
        if replaced is not None:
            self._wait(str(replaced), number, _OTHERS_SECONDS, check_cancelled)

    def forget_choice(self, key: str) -> None:
        """If ``key`` is the current depth model, make it no longer current."""

        def forget(orders: Orders) -> None:
            if orders.chosen == key:
                orders.chosen = None

        if self.chosen() == key:
            self._change_orders(forget)

    @contextmanager
    def lease(self, id: NetworkId, check_cancelled: CheckCancelled) -> Iterator[LoadedNetwork]:
        """Lend a network, see ``Manager.lease``. If it had to be loaded, all workers load it."""
        was_loaded = self._manager.is_loaded(id)
        before = None if was_loaded else self._book.read().networks.get(str(id))
        with self._manager.lease(id, check_cancelled) as loaded:
            # A worker that is being replaced loads networks only for itself: it must not make the
            # others load what they will not need.
            if not was_loaded and not self._shared.get("leaving"):
                order = self._book.read().networks.get(str(id))
                if order != before and order is not None and order.wanted is None:
                    # It was unloaded or deleted during the load; this request can still finish.
                    self._manager.unload(id)
                elif order is None or order.wanted is None:
                    with suppress(NotAvailable):  # if /dev/shm is full, only this worker loads it
                        self.order_load(id, "auto")
            yield loaded

    def clean_up(self, check_cancelled: CheckCancelled) -> memory.CleanUp:
        """Free memory in every worker.

        The result has the sums over all workers, but the resident memory of the largest one.
        """

        def order(orders: Orders) -> None:
            orders.clean_up = orders.number

        number = self._change_orders(order).number
        self._wait(_CLEAN_UP, number, _CLEAN_UP_SECONDS, check_cancelled)
        # A worker that did not clean up in time, for example during a long load, is left out.
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
        """Follow the orders that this worker has not followed yet, and write its report."""
        with self._following:
            for key in self._book.read().networks:
                # Read anew for each network: the one before may have taken a minute to load, and
                # an old order would download again what has been deleted meanwhile.
                order = self._book.read().networks.get(key)
                if order and key in self._networks:  # otherwise a reload has removed it
                    self._follow_order(self._networks[key], order)
            orders = self._book.read()
            if orders.clean_up > self.reports.followed.get(_CLEAN_UP, 0):
                self.reports.cleaned = memory.clean_up()
                self.reports.followed[_CLEAN_UP] = orders.clean_up
        self.reports.write()

    def release_idle_memory(self) -> None:
        """Free memory that this worker needs only while networks run; call it when it is idle."""
        self._manager.release_idle_memory()

    def unload_idle(self, seconds: float) -> None:
        """Order every worker to unload the networks that none has used for ``seconds`` seconds."""
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
        """Record a load, so that a crash of this worker during it is noticed.

        Raises:
            LoadError: loading this network has just crashed several workers in a row.
        """
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

    # -- internal ------------------------------------------------------------------------------

    def _order(self, id: NetworkId, wanted: Wanted | None) -> int:
        def order(orders: Orders) -> None:
            orders.networks[str(id)] = Order(number=orders.number, wanted=wanted)

        return self._change_orders(order).number

    def _restore(self, id: NetworkId, number: int, before: Order | None) -> None:
        """Replace a failed order by the previous one, unless there is already a newer order."""

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
                f"The workers cannot be informed: {error.strerror} "
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
                    # Requests the download, also after the download process crashed. Raises
                    # NotAvailable until the download is done, and for a while after a failed load.
                    self._manager.check(id)
                self._manager.load(id, order.wanted)
            except LoadError as error:  # the manager has already logged it
                self.reports.failed[str(id)] = str(error)
            except NotAvailable:
                pass  # the status of the model shows the reason
        self.reports.followed[str(id)] = order.number

    def _wait(self, key: str, number: int, seconds: float, check_cancelled: CheckCancelled) -> None:
        """Wait until all workers have followed an order.

        The wait for the other workers ends after ``seconds``, because one of them may be stuck. The
        seconds count from the moment when this worker has followed the order, because its own load
        may take longer.
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
        """Whether a network that is loaded on a device is loaded where it is wanted."""
        if wanted == "auto":
            return True
        return device.is_gpu == (wanted == "gpu" and self._manager.has_gpu())

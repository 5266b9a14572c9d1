# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""All workers as one: what they are told to hold and to do.

Orders are one document that any worker writes (app/workers/order_book.py). Each follows them in its own time
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
from app.host.shared_state import Board
from app.lending.entry import Wanted
from app.lending.manager import Manager
from app.models.base import Model
from app.workers.crashes import Crashes
from app.workers.order_book import Order, OrderBook, Orders
from app.workers.reports import Reports
from config.models import ModelSpec

log = logging.getLogger("twinlens.workers")

# How long the answer to an order waits for the workers that did not take it.
_LOAD_SECONDS = 10.0
_CLEAN_UP_SECONDS = 5.0
_LOOK_SECONDS = 0.02
_FULL_RETRY_SECONDS = 30
# Followed as a model's orders are, under this name, which no model can have.
_CLEAN_UP = "*"

#: Raises where the answer that is waited for has become useless.
Look = Callable[[], None]


class Workers:
    """The part of this worker in the whole."""

    def __init__(self, board: Board, manager: Manager, specs: Iterable[ModelSpec]) -> None:
        self._board = board
        self._manager = manager
        self._specs = {spec.key: spec for spec in specs}
        self.reports = Reports(board, manager, self._specs.values())
        self._book = OrderBook(board.folder)
        self._crashes = Crashes(board.folder)
        self._following = threading.Lock()
        manager.on_change = self.reports.write
        manager.on_evict = self.want_no_more
        manager.guard = self._guarded

    # -- orders --------------------------------------------------------------------------------

    def want(self, spec: ModelSpec, wanted: Wanted) -> int:
        """Have every worker load a model; gives the number of the order."""
        return self._order(spec, wanted)

    def want_no_more(self, spec: ModelSpec) -> int:
        """Have every worker unload it."""
        return self._order(spec, None)

    def load(self, spec: ModelSpec, wanted: Wanted, look: Look) -> Device:
        """Load a model that is on disk in every worker; cheap when that is done already.

        Args:
            spec: the model.
            wanted: where to.
            look: called now and then while it waits; it may raise to end the wait.

        Raises:
            LoadError: it failed in some worker; the message says why.
        """
        found = [report.models.get(spec.key) for report in self.reports.all()]
        devices = [each.device if each and each.state == "loaded" else None for each in found]
        before = self._book.read().models.get(spec.key)
        is_leaving = before is not None and before.wanted is None  # not all have followed yet
        serve = all(device is not None and self._serves(device, wanted) for device in devices)
        if serve and not is_leaving:
            assert devices[0] is not None
            return devices[0]
        number = self.want(spec, wanted)
        self._wait(spec.key, number, _LOAD_SECONDS, look)
        reports = [each for each in self.reports.all() if each.followed.get(spec.key, 0) >= number]
        for report in reports:
            if spec.key in report.failed:
                self._restore(spec, number, before)
                raise LoadError(report.failed[spec.key])
        loaded = [each.models[spec.key].device for each in reports if spec.key in each.models]
        device = next((device for device in loaded if device is not None), None)
        if device is None:
            raise LoadError("it was unloaded meanwhile")
        return device

    def unload(self, spec: ModelSpec, look: Look) -> None:
        """Unload a model in every worker; requests that hold it finish with it."""
        self._wait(spec.key, self.want_no_more(spec), _LOAD_SECONDS, look)

    def chosen(self) -> str | None:
        """The key of the depth model that was made current last; None: nobody chose one."""
        with suppress(OSError, ValueError):
            return self._book.read().chosen
        return None

    def choose(self, spec: ModelSpec, wanted: Wanted, look: Look) -> None:
        """After a load: make a model the current one; the one before is unloaded in every worker.

        Args:
            spec: the model that was loaded.
            wanted: where to.
            look: called now and then while it waits; it may raise to end the wait.

        Raises:
            NotAvailable: the workers cannot be told.
        """
        replaced: str | None = None

        def choose(orders: Orders) -> None:
            nonlocal replaced
            replaced = orders.chosen if orders.chosen in self._specs else None
            orders.chosen = spec.key
            if replaced is None or replaced == spec.key:
                return
            orders.models[replaced] = Order(number=orders.number, wanted=None)
            standing = orders.models.get(spec.key)
            if standing is None or standing.wanted is None:  # replaced by another load meanwhile
                orders.models[spec.key] = Order(number=orders.number, wanted=wanted)

        number = self._changed(choose).number
        if replaced is not None and replaced != spec.key:
            self._wait(replaced, number, _LOAD_SECONDS, look)

    def forget_choice(self, key: str) -> None:
        """No model is chosen any more, if ``key`` was. Raises NotAvailable."""

        def forget(orders: Orders) -> None:
            if orders.chosen == key:
                orders.chosen = None

        if self.chosen() == key:
            self._changed(forget)

    @contextmanager
    def lease(self, spec: ModelSpec, look: Look) -> Iterator[Model]:
        """Lend the model, see Manager; where it had to be loaded the other workers load it, too."""
        was_loaded = self._manager.is_loaded(spec)
        with self._manager.lease(spec, look) as model:
            # What a worker that is being replaced still needs is nobody else's business.
            if not was_loaded and not self._board.get("leaving"):
                order = self._book.read().models.get(spec.key)
                if order is None or order.wanted is None:
                    with suppress(NotAvailable):  # a full /dev/shm: then only this worker has it
                        self.want(spec, "auto")
            yield model

    def clean_up(self, look: Look) -> memory.CleanUp:
        """Clean up in every worker; the sum of what they say, memory of the largest."""

        def order(orders: Orders) -> None:
            orders.clean_up = orders.number

        number = self._changed(order).number
        self._wait(_CLEAN_UP, number, _CLEAN_UP_SECONDS, look)
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
            for key, order in orders.models.items():
                if key in self._specs:  # the table may have changed at a reload
                    self._obey(self._specs[key], order)
            if orders.clean_up > self.reports.followed.get(_CLEAN_UP, 0):
                self.reports.cleaned = memory.clean_up()
                self.reports.followed[_CLEAN_UP] = orders.clean_up
        self.reports.write()

    def settle(self) -> None:
        """In this worker, when it has nothing to do: give back what it needs only then."""
        self._manager.settle()

    def unload_idle(self, seconds: float) -> None:
        """Have models unloaded that no worker used for so long."""
        reports = self.reports.all()
        for key, spec in self._specs.items():
            found = [report.models[key] for report in reports if key in report.models]
            loaded = [each for each in found if each.state == "loaded"]
            idle = not any(each.in_use for each in found)
            if loaded and idle:
                used_at = max(each.used_at for each in loaded)
                if time.monotonic() - used_at >= seconds:
                    self.want_no_more(spec)

    @contextmanager
    def _guarded(self, spec: ModelSpec) -> Iterator[None]:
        """Around a load. Raises LoadError where it has ended several workers a short while ago."""
        crash = self._crashes.of(spec.key)
        if crash is not None and crash.pause() > 0:
            raise LoadError(f"{crash.reason()}; the next try is in {crash.pause():.0f} s")
        slot = self._board.slot
        self._crashes.begin(slot, spec.key)
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            self._crashes.end(slot, spec.key, succeeded)

    # -- inside --------------------------------------------------------------------------------

    def _order(self, spec: ModelSpec, wanted: Wanted | None) -> int:
        def order(orders: Orders) -> None:
            orders.models[spec.key] = Order(number=orders.number, wanted=wanted)

        return self._changed(order).number

    def _restore(self, spec: ModelSpec, number: int, before: Order | None) -> None:
        """After an order that failed: the one that stood before it, unless there is a newer one."""

        def restore(orders: Orders) -> None:
            if spec.key in orders.models and orders.models[spec.key].number == number:
                del orders.models[spec.key]
                if before is not None:
                    orders.models[spec.key] = before

        self._changed(restore)

    def _changed(self, change: Callable[[Orders], None]) -> Orders:
        try:
            orders = self._book.change(change)
        except OSError as error:
            raise NotAvailable(
                f"The workers cannot be told: {error.strerror} ({self._board.folder.parent}, which "
                "the service's processes share); try again when there is room",
                title="No room",
                retry_after=_FULL_RETRY_SECONDS,
            ) from error
        self._board.ring()
        return orders

    def _obey(self, spec: ModelSpec, order: Order) -> None:
        is_new = self.reports.followed.get(spec.key) != order.number
        if is_new:
            self.reports.failed.pop(spec.key, None)
        if order.wanted is None:
            if is_new:
                self._manager.unload(spec)
        elif is_new or not self._manager.is_loaded(spec):
            try:
                if not is_new or not self._manager.on_disk(spec):
                    # Asks for its download, again if that process died; and after a failure
                    # says no for a while.
                    self._manager.check(spec)
                self._manager.load(spec, order.wanted)
            except LoadError as error:  # the manager has logged it
                self.reports.failed[spec.key] = str(error)
            except NotAvailable:
                pass  # its status says why
        self.reports.followed[spec.key] = order.number

    def _wait(self, key: str, number: int, seconds: float, look: Look) -> None:
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
            look()
            time.sleep(_LOOK_SECONDS)

    def _serves(self, device: Device, wanted: Wanted) -> bool:
        if wanted == "auto":
            return True
        return device.is_gpu == (wanted == "gpu" and self._manager.has_gpu())

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the order book, the records of crashed loads, and the detection of changed files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.engines.base import LoadError
from app.host.shared_state import SharedState
from app.host.unchanged import Fingerprint
from app.lending.entry import NetworkStatus
from app.lending.registry import networks_of
from app.models.base import NetworkId
from app.workers.crashes import Crashes
from app.workers.order_book import Order, OrderBook, Orders
from app.workers.orders import Workers
from config.models import ModelSpec
from config.settings import Settings


def ordering(key: str) -> Callable[[Orders], None]:
    def change(orders: Orders) -> None:
        orders.networks[key] = Order(number=orders.number, wanted="auto")

    return change


def test_no_order_is_lost_when_many_are_given_at_once(tmp_path: Path) -> None:
    def give(number: int) -> None:
        OrderBook(tmp_path).change(ordering(f"model-{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(give, range(40)))
    orders = OrderBook(tmp_path).read()
    assert len(orders.networks) == 40
    assert len({order.number for order in orders.networks.values()}) == 40


def test_an_order_that_was_begun_long_ago_is_given_anew(tmp_path: Path) -> None:
    """A process that was stopped between reading and writing orders must not undo newer ones."""
    book = OrderBook(tmp_path)
    late = book.read()
    late.number = 1
    late.networks["late"] = Order(number=1, wanted="auto")
    for number in range(20):
        book.change(ordering(f"model-{number}"))
    assert not book._publish(late)
    assert len(book.read().networks) == 20


class Lender:
    """Stands in for the manager: a load does what a test wants to happen meanwhile."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] = lambda: None
        self.unloaded: list[NetworkId] = []

    def is_loaded(self, _: NetworkId) -> bool:
        return False

    @contextmanager
    def lease(self, id: NetworkId, _: object) -> Iterator[NetworkId]:
        self.meanwhile()
        yield id

    def unload(self, id: NetworkId) -> None:
        self.unloaded.append(id)

    def on_disk(self, _: ModelSpec) -> bool:
        return True

    def check(self, _: NetworkId) -> None: ...

    def load(self, *_: object) -> None:
        raise LoadError("its files are damaged")

    def known_device(self) -> None: ...

    def network_status(self, _: NetworkId) -> NetworkStatus:
        return NetworkStatus(state="not_loaded")


@pytest.fixture
def network() -> NetworkId:
    spec: ModelSpec = Settings().table().model[0]
    return networks_of(spec)[0]


@pytest.fixture
def lender() -> Lender:
    return Lender()


@pytest.fixture
def workers(lender: Lender, network: NetworkId) -> Iterator[Workers]:
    shared = SharedState()
    manager: Any = lender
    yield Workers(shared, manager, [network])
    shared.close()


def borrow(workers: Workers, network: NetworkId) -> None:
    with workers.lease(network, lambda: None):
        pass


def test_what_a_request_loaded_is_loaded_by_all(workers: Workers, network: NetworkId) -> None:
    workers.order_unload(network)
    borrow(workers, network)
    assert not workers.must_be_unloaded(network)


def test_an_unload_during_a_load_counts(
    workers: Workers, lender: Lender, network: NetworkId
) -> None:
    """A request that was loading a model brought it back after somebody had deleted it."""
    lender.meanwhile = lambda: workers.order_unload(network)
    borrow(workers, network)
    assert workers.must_be_unloaded(network)
    assert lender.unloaded == [network]


def test_two_loads_that_fail_at_once_leave_no_order(workers: Workers, network: NetworkId) -> None:
    """The second put the order of the first back, and the load was tried again every 30 s."""
    given = threading.Semaphore(0)  # released when a load has been ordered, and waits

    def load() -> None:
        with pytest.raises(LoadError, match="damaged"):
            workers.load(network, "auto", given.release)

    with ThreadPoolExecutor(2) as pool:
        loads = []
        for _ in range(2):
            loads.append(pool.submit(load))
            assert given.acquire(timeout=60)
        assert workers.last_order() == 2
        while not all(each.done() for each in loads):
            workers.follow()
        for each in loads:
            each.result()
    assert not workers._book.read().networks


def test_a_new_default_model_was_not_unloaded(workers: Workers, network: NetworkId) -> None:
    workers.order_unload(network)
    workers.forget_unload(network)
    assert not workers.must_be_unloaded(network)


def test_a_model_that_a_later_reload_needs_is_not_retired(
    workers: Workers, network: NetworkId
) -> None:
    at = workers.last_order()
    workers.order_load(network, "auto")
    workers.retire(network, at)
    assert not workers.must_be_unloaded(network)
    workers.retire(network, workers.last_order())
    assert workers.must_be_unloaded(network)


def test_loads_that_end_workers_are_tried_less_and_less_often(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path)
    pauses = []
    for slot in range(1, 6):
        crashes.begin(slot, "small")
        crashes.died(slot)
        crashes.forget(slot)
        crash = crashes.of("small")
        assert crash is not None
        pauses.append(crash.pause())
    assert pauses[0] == 0, "a damaged file is made anew by the next worker"
    assert pauses[1:] == sorted(pauses[1:])
    assert pauses[-1] > 60
    assert [crash.reason() for crash in crashes.repeated()] == [
        "5 workers in a row died while they loaded small"
    ]
    crashes.begin(7, "small")
    crashes.end(7, "small", succeeded=True)
    assert crashes.repeated() == []
    crashes.died(7)
    assert crashes.of("small") is None, "it had ended"


def test_each_change_of_a_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"0123456789")
    before = path.stat()
    seen = Fingerprint([path])
    assert seen.holds()
    path.write_bytes(b"012345678x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not seen.holds()
    seen = Fingerprint([path])
    path.unlink()
    assert not seen.holds()


def test_what_was_never_there_does_not_hold(tmp_path: Path) -> None:
    assert not Fingerprint([tmp_path / "none"]).holds()

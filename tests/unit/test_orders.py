# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the order book, the records of crashed loads, and the detection of changed files."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.host.unchanged import Fingerprint
from app.workers.crashes import Crashes
from app.workers.order_book import Order, OrderBook, Orders


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

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the waiting room and the device threads: order, limits, batches and failures."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

import pytest
import torch

from app.errors import Busy, ClientGone, NotAvailable, TooSlow, TwinlensError
from app.queueing.tickets import FloatArray
from tests.unit.place import Place


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.close()


def error_of(future: Future[float]) -> TwinlensError:
    with pytest.raises(TwinlensError) as caught:
        future.result(60)
    return caught.value


def test_first_come_first_served_in_batches_of_what_waits(place: Place) -> None:
    first = place.ask(0)
    place.wait_until_busy()
    others = [place.ask(number) for number in range(1, 11)]
    # The device takes whatever is prepared, so the test first waits until all requests that may
    # prepare have done so.
    for begun, called in ((1, 4), (2, 4), (3, 2)):
        place.wait_until_ready(begun, called)
        place.model.step()
    place.model.go.set()
    assert [future.result(60) for future in [first, *others]] == [2.0 * n for n in range(11)]
    assert place.model.batches[0] == [0], "nobody waits for a batch to fill"
    assert place.model.batches[1] == [1, 2, 3, 4]
    order = place.model.order()
    # Requests that may prepare at the same time can become ready in any order.
    assert all(abs(index - number) < 4 for index, number in enumerate(order))
    assert max(map(len, place.model.batches)) <= 4


def test_no_more_is_prepared_than_the_device_takes_next(place: Place) -> None:
    asked = [place.ask(0)]
    place.wait_until_busy()
    asked += [place.ask(number) for number in range(1, 20)]
    asked += [place.ask(number, key="b") for number in range(20, 30)]
    place.wait_until_called(5)
    assert place.called == [0, 1, 2, 3, 4]
    place.model.go.set()
    assert [future.result(60) for future in asked] == [2.0 * n for n in range(30)]


def test_the_next_batch_is_prepared_while_one_runs(place: Place) -> None:
    """However fast the device is, a whole batch is ready when it has finished the one before."""
    asked = [place.ask(0)]
    place.wait_until_busy()
    asked += [place.ask(number) for number in range(1, 13)]
    for begun in (1, 2, 3):
        place.wait_until_ready(begun, 4)
        place.model.step()
    place.model.go.set()
    assert [future.result(60) for future in asked] == [2.0 * n for n in range(13)]
    assert [len(batch) for batch in place.model.batches] == [1, 4, 4, 4]


def test_models_and_shapes_do_not_mix(place: Place) -> None:
    asked = [place.ask(0)]
    place.wait_until_busy()
    asked += [place.ask(n, key="ab"[n % 2], shape=(1 + n % 3,)) for n in range(1, 13)]
    place.model.go.set()
    assert [future.result(60) for future in asked] == [2.0 * n for n in range(13)]
    for batch in place.model.batches[1:]:
        assert len({int(n) % 6 for n in batch}) == 1


def test_a_failing_one_does_not_fail_the_others(place: Place) -> None:
    def fail(batch: FloatArray) -> None:
        if 2 in batch:
            raise ValueError("the second is broken")

    place.model.fail = fail
    asked = [place.ask(0)]
    place.wait_until_busy()
    asked += [place.ask(number) for number in range(1, 5)]
    place.model.go.set()
    with pytest.raises(ValueError, match="broken"):
        asked.pop(2).result(60)
    assert [future.result(60) for future in asked] == [0, 2, 6, 8]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_out_of_memory_is_tried_again_alone(place: Place, error: Exception) -> None:
    def fail(batch: FloatArray) -> None:
        if len(batch) > 1 or 3 in batch:
            raise error

    place.model.fail = fail
    asked = [place.ask(0)]
    place.wait_until_busy()
    asked += [place.ask(number) for number in range(1, 5)]
    place.model.go.set()
    refused = error_of(asked.pop(3))
    assert (refused.status, bool(refused.retry_after)) == (503, True)
    assert [future.result(60) for future in asked] == [0, 2, 4, 8]
    assert place.ask(7).result(60) == 14, "the next request works"


def test_a_lost_device_is_reported_and_its_callers_are_told(place: Place) -> None:
    def fail(_: FloatArray) -> None:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    place.model.fail = fail
    place.model.go.set()
    assert error_of(place.ask(1)).status == 503
    assert place.lost


def test_a_client_that_is_gone_is_dropped_before_its_inference(place: Place) -> None:
    first = place.ask(0)
    place.wait_until_busy()
    gone = place.ask(1, is_gone=lambda: True)
    other = place.ask(2)
    place.model.go.set()
    assert isinstance(error_of(gone), ClientGone)
    assert (first.result(60), other.result(60)) == (0, 4)
    assert 1 not in place.model.order()


def test_a_client_that_is_gone_gives_its_place_back(place: Place) -> None:
    place.ask(0)
    place.wait_until_busy()
    gone = place.ask(1, is_gone=lambda: True)
    assert isinstance(error_of(gone), ClientGone)
    assert place.room.figures().waiting == 0


def test_a_full_room_refuses_at_once_with_the_time_it_will_take() -> None:
    place = Place(max_queue=2)
    place.shared.set_request_seconds(3)
    asked = [place.ask(0)]
    place.wait_until_busy()
    asked += [place.ask(number) for number in (1, 2)]
    refused = error_of(place.ask(3))
    assert isinstance(refused, Busy)
    assert refused.retry_after == 9
    place.model.go.set()
    assert [future.result(60) for future in asked] == [0, 2, 4]
    assert place.ask(5).result(60) == 10
    place.close()


def test_without_places_to_wait_one_at_a_time_is_served() -> None:
    place = Place(max_queue=0)
    first = place.ask(1)
    assert isinstance(error_of(place.ask(2)), Busy)
    place.model.go.set()
    assert first.result(60) == 2
    assert place.ask(3).result(60) == 6
    place.close()


def test_waiting_has_an_end() -> None:
    place = Place(wait=0.05)
    first = place.ask(0)
    place.wait_until_busy()
    assert isinstance(error_of(place.ask(1)), TooSlow)
    place.model.go.set()
    assert first.result(60) == 0
    figures = place.room.figures()
    assert (figures.in_flight, figures.waiting) == (0, 0)
    place.close()


def test_no_time_to_wait_serves_who_finds_a_free_device_and_nobody_else() -> None:
    place = Place(wait=0)
    for number in range(5):
        first = place.ask(number)
        place.wait_until_busy()
        for _ in range(3):
            assert isinstance(error_of(place.ask(9)), TooSlow)
        place.model.step()
        assert first.result(60) == 2 * number
    figures = place.room.figures()
    assert (figures.in_flight, figures.waiting) == (0, 0)
    place.close()


def test_a_request_without_a_device_keeps_nobody_from_the_device() -> None:
    """A preview, or a photo that SHARP works on for minutes, with no places and no time to wait."""
    place = Place(max_queue=0, wait=0)
    place.model.go.set()
    with place.room.enter(None, 1, lambda: False):
        assert place.ask(1).result(60) == 2
        assert place.room.figures().in_flight == 1
    assert place.room.figures().in_flight == 0
    place.close()


def test_a_busy_device_keeps_nobody_from_work_without_it() -> None:
    place = Place(max_queue=1, wait=0)
    place.ask(1)
    place.wait_until_busy()
    enter = partial(place.room.enter, None, 1, lambda: False)
    with enter(), enter():
        figures = place.room.figures()
        assert (figures.in_flight, figures.waiting) == (2, 1), "the second waits for a core"
        with pytest.raises(Busy), enter():
            pass
    place.close()


def test_a_hanging_inference_is_noticed_by_its_caller() -> None:
    place = Place(inference=0.1)
    hangs = []
    place.room.on_hang = lambda: hangs.append(1)
    assert isinstance(error_of(place.ask(0)), TooSlow)
    assert hangs
    place.close()


def test_closing_refuses_who_waits_and_lets_run_what_runs(place: Place) -> None:
    running = place.ask(0)
    place.wait_until_busy()
    waiting = place.ask(1)
    place.room.close(lambda: NotAvailable("closing", retry_after=1))
    assert error_of(waiting).message == "closing"
    assert error_of(place.ask(2)).message == "closing"
    place.model.go.set()
    assert running.result(60) == 0


def test_what_runs_too_long_at_the_end_is_told_so(place: Place) -> None:
    running = place.ask(0)
    place.wait_until_busy()
    place.room.close(lambda: NotAvailable("closing"), running_seconds=0.05)
    assert error_of(running).message == "closing"


def test_a_failing_caller_gives_its_place_back(place: Place) -> None:
    def caller() -> None:
        with place.room.enter("a", 1, lambda: False) as ticket:
            place.room.wait_for_turn(ticket, 1)
            assert place.room.figures().in_flight == 1
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        caller()
    assert place.room.figures().in_flight == 0


def test_another_model_is_not_starved(place: Place) -> None:
    """Only eight later requests are taken before the one for another model.

    Many more of them would still fit into the first model's next batch.
    """
    first = place.ask(0)
    place.wait_until_busy()
    crowd = [place.ask(number, max_batch=100) for number in range(1, 6)]
    other = place.ask(-1, key="b")
    crowd += [place.ask(number, max_batch=100) for number in range(6, 40)]
    place.wait_until_called(14)
    assert place.called == list(range(14)), "eight have gone before it, and no more"
    place.model.go.set()
    assert other.result(60) == -2
    assert place.model.order().index(-1) == 14
    assert [future.result(60) for future in [first, *crowd]] == [2.0 * n for n in range(40)]


def test_requests_that_get_no_further_are_a_stall(place: Place) -> None:
    """A request that may prepare but never becomes ready is a stall, as if its decoder hung."""
    room = place.room
    with room.enter("a", 1, lambda: False) as ticket:
        room.wait_for_turn(ticket, 4)
        assert room.stall() is None
        room._progress_at -= 2 * room.max_wait_seconds + 1
        stall = room.stall()
        assert stall is not None
        assert stall.startswith("1 requests wait, and none has made progress for ")
        room.note_progress()
        assert room.stall() is None, "a file of it was decoded"
    assert room.stall() is None, "nobody waits any more"
    with room.enter("a", 1, lambda: False) as ticket:
        room._progress_at -= 10**6  # the last request ended long ago
        room.wait_for_turn(ticket, 4)
        assert room.stall() is None

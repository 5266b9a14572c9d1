# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the waiting room while films are worked on: their frames let photos pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from app.errors import Busy, ClientGone, NotAvailable
from tests.unit.place import Place
from tests.unit.test_admission import error_of


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.close()


def film(place: Place, name: int, frames: int, max_batch: int = 1) -> threading.Thread:
    """Send the frames of a film, numbered from ``name`` on: two of them wait at a time."""
    numbers = iter(range(name, name + frames))
    lock = threading.Lock()

    def send() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            place.ask(number, max_batch=max_batch, background=True).result(60)

    def both() -> None:
        threads = [threading.Thread(target=send) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    thread = threading.Thread(target=both)
    thread.start()
    return thread


def test_a_photo_waits_for_one_frame_at_most(place: Place) -> None:
    playing = film(place, 100, 6)
    place.wait_until_ready(1, 1)  # one runs, and the next one stands ready
    photo = place.ask(1)
    place.wait_until_ready(1, 2)
    place.model.step()
    place.wait_until_ready(2, 1)
    place.model.step()
    assert photo.result(60) == 2
    place.model.go.set()
    playing.join(60)
    assert place.model.order()[1] == 1
    assert sorted(place.model.order()) == [1, *range(100, 106)]


def test_a_photo_does_not_run_in_one_batch_with_frames(place: Place) -> None:
    asked = [place.ask(0)]
    place.wait_until_busy()
    asked += [place.ask(number, background=True) for number in (100, 101)]
    asked += [place.ask(1)]
    place.wait_until_ready(1, 3)
    place.model.go.set()
    for future in asked:
        future.result(60)
    assert place.model.batches == [[0], [1], [100, 101]]


def test_frames_do_not_keep_a_photo_from_being_prepared(place: Place) -> None:
    asked = [place.ask(number, max_batch=1, background=True) for number in (100, 101, 102)]
    place.wait_until_ready(1, 2)
    asked += [place.ask(1, max_batch=1), place.ask(2, max_batch=1)]
    place.wait_until_ready(1, 3)
    assert place.called[3:] == [1], "as many photos as without the frames, and no more"
    place.model.go.set()
    for future in asked:
        future.result(60)


def test_two_films_take_turns(place: Place) -> None:
    films = [film(place, 100, 8), film(place, 200, 8)]
    for begun in range(1, 13):
        place.wait_until_ready(begun, 3)
        place.model.step()
    place.model.go.set()
    for each in films:
        each.join(60)
    of_first = [number < 200 for number in place.model.order()]
    # Of each film one frame waits while another one runs, so that its frames come in pairs.
    for begin in range(2, 8):
        assert 1 <= sum(of_first[begin : begin + 4]) <= 3


def test_frames_of_films_run_as_one_batch_where_that_is_faster(place: Place) -> None:
    asked = [place.ask(0)]
    place.wait_until_busy()
    asked += [place.ask(number, background=True) for number in (100, 200, 101, 201)]
    place.wait_until_ready(1, 4)
    place.model.go.set()
    for future in asked:
        future.result(60)
    assert place.model.batches[1] == [100, 200, 101, 201]


def test_frames_take_no_place_from_photos() -> None:
    place = Place(max_queue=2)
    playing = film(place, 100, 5)
    place.wait_until_ready(1, 1)
    photos = [place.ask(number) for number in (1, 2, 3)]
    figures = place.room.figures()
    assert figures.waiting == 2, "a device that runs a frame is free for the first photo"
    assert isinstance(error_of(place.ask(4)), Busy)
    frame = place.ask(200, background=True)
    place.model.go.set()
    assert [photo.result(60) for photo in photos] == [2, 4, 6]
    assert frame.result(60) == 400
    playing.join(60)
    figures = place.room.figures()
    assert (figures.in_flight, figures.waiting) == (0, 0)
    place.close()


def test_photos_need_no_place_to_wait_beside_a_film() -> None:
    """Without places to wait, and without time, a photo still gets its turn beside a film."""
    place = Place(max_queue=0, wait=0)
    playing = film(place, 100, 4)
    place.wait_until_ready(1, 1)
    photo = place.ask(1)
    place.wait_until_ready(1, 2)
    assert isinstance(error_of(place.ask(2)), Busy)
    place.model.go.set()
    assert photo.result(60) == 2
    playing.join(60)
    place.close()


def test_a_frame_waits_without_an_end() -> None:
    place = Place(wait=0.05)
    photo = place.ask(0)
    place.wait_until_busy()
    frame = place.ask(100, background=True)
    assert error_of(place.ask(1)).status == 504, "a photo that came after the frame gave up"
    place.model.go.set()
    assert (photo.result(60), frame.result(60)) == (0, 200)
    place.close()


def test_frames_do_not_hide_that_photos_get_no_further(place: Place) -> None:
    """A photo whose decoder hangs is a stall, however many frames run meanwhile."""
    room = place.room
    with room.enter("a", 1, lambda: False) as photo:
        room.wait_for_turn(photo, 1)
        room._progress_at -= 2 * room.max_wait_seconds + 1
        frame = place.ask(100, background=True)
        place.wait_until_busy()
        assert room.stall() is not None
        place.model.step()
        frame.result(60)
        assert room.stall() is not None


def test_frames_alone_are_no_stall(place: Place) -> None:
    room = place.room
    with room.enter("a", 1, lambda: False, background=True) as frame:
        room.wait_for_turn(frame, 1)
        room._progress_at -= 10**6
        assert room.stall() is None
        with room.enter("a", 1, lambda: False) as photo:
            room.wait_for_turn(photo, 1)
            assert room.stall() is None, "the photo has only just come"


def test_closing_refuses_frames_that_wait(place: Place) -> None:
    running = place.ask(100, background=True)
    place.wait_until_busy()
    waiting = place.ask(101, background=True)
    place.room.close(lambda: NotAvailable("closing"))
    assert error_of(waiting).message == "closing"
    assert error_of(place.ask(102, background=True)).message == "closing"
    with pytest.raises(NotAvailable, match="closing"):
        place.room.check_open()
    place.model.go.set()
    assert running.result(60) == 200


def test_a_frame_of_a_film_that_nobody_wants_is_dropped(place: Place) -> None:
    photo = place.ask(0)
    place.wait_until_busy()
    gone = place.ask(100, is_gone=lambda: True, background=True)
    place.model.go.set()
    assert isinstance(error_of(gone), ClientGone)
    assert photo.result(60) == 0
    assert 100 not in place.model.order()

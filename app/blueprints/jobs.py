# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The routes for jobs: films that are made after their request was answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from app.blueprints import file_names, headers
from app.blueprints.exchange import cancellation_check, disconnect_check, runtime
from app.blueprints.streams import Outcome, Stream
from app.errors import BadRequest, Busy, Conflict, NotFound
from app.jobs.state import JobState, Order
from app.lending.registry import networks_of
from config.models import ModelSpec
from config.threads import MAX_JOB_RESULTS

blueprint = Blueprint("jobs", __name__)

_ON, _OFF = ("true", "1"), ("", "false", "0")
_RETRY_SECONDS = 2
# A result whose first bytes are not there yet is waited for, for this long.
_FIRST_SECONDS = 10.0
_POLL_SECONDS = 0.1
_PIECE = 2**18


# There is no route that lists all jobs: whoever knows a job's id may see and remove it, so a list
# would give the films of all clients to each of them.
@blueprint.get("/api/jobs/<id>")
def job(id: str) -> ResponseReturnValue:
    """Tell how far a job is."""
    return jsonify(_described(runtime().jobs.state(id)))


@blueprint.delete("/api/jobs/<id>")
def cancel(id: str) -> ResponseReturnValue:
    """Cancel a job, or remove one that has ended, with its files."""
    runtime().jobs.cancel(id)
    return jsonify(success=True, message="The job and its files are removed")


@blueprint.get("/api/jobs/<id>/result")
def result(id: str) -> ResponseReturnValue:
    """Answer with what a job has made, or with what it makes while it is made."""
    if not _results.acquire(blocking=False):
        raise Busy(
            f"{MAX_JOB_RESULTS} results are being sent; try again later", retry_after=_RETRY_SECONDS
        )
    try:
        return _sent(_with_bytes(id))
    except BaseException:
        _results.release()
        raise


def is_wanted(given: dict[str, str]) -> bool:
    """Take the option ``job`` out of a request's options; whether it asks for a job.

    Raises:
        BadRequest: it has another value than true or false.
    """
    value = given.pop("job", "")
    if value.lower() not in (*_ON, *_OFF):
        raise BadRequest(f"job: true or false, not {value!r}", title="Invalid option")
    return value.lower() in _ON


def accept(film: BinaryIO, spec: ModelSpec, order: Order) -> Response:
    """Keep a film to work on it later; the answer says where to ask.

    Raises:
        NotAvailable: the model cannot be used now. The client learns it now, not from the job.
    """
    service = runtime()
    service.manager.check(networks_of(spec)[0])
    state = service.jobs.create(film, order, cancellation_check())
    response = jsonify(_described(state))
    response.status_code = 202
    response.headers["Location"] = _path(state.id)
    return response


# Results that this process sends, or waits for; each holds a thread.
_results = threading.BoundedSemaphore(MAX_JOB_RESULTS)


def _with_bytes(id: str) -> JobState:
    """The state of a job whose result has begun. Waits for that if it is about to begin.

    Raises:
        Conflict: the job waits, or has failed.
    """
    is_gone, end = disconnect_check(), time.monotonic() + _FIRST_SECONDS
    while True:
        state = runtime().jobs.state(id)
        if state.state == "done" or (state.state == "running" and state.bytes):
            return state
        if state.state == "failed":
            raise Conflict(
                f"The job failed, so there is no result: {state.error}", code="job_failed"
            )
        if state.state == "queued" or time.monotonic() > end or is_gone():
            raise Conflict(
                f"There is no result yet: the job is {state.state}", retry_after=_RETRY_SECONDS
            )
        time.sleep(_POLL_SECONDS)


def _sent(state: JobState) -> Response:
    def at_end(_: Outcome, __: int) -> None:
        _results.release()

    jobs = runtime().jobs
    if state.state == "done":
        try:
            file = _File(jobs.result(state))
        except OSError:
            raise NotFound("The job was removed just now", code="unknown_job") from None
        response = Response(file, mimetype=state.order.mimetype)
        response.content_length = file.size
        response.last_modified = datetime.fromtimestamp(state.ended_at or 0, UTC)
        response.set_etag(f"{state.id}-{state.attempts}")
        # May replace the iterator by one for the part that the client asks for.
        try:
            response.make_conditional(request.environ, True, file.size)
        except RequestedRangeNotSatisfiable:
            file.close()
            raise
        response.response = Stream(iter(response.response), at_end)  # type: ignore[arg-type]
    else:
        chunks = jobs.follow(state, disconnect_check())
        response = Response(Stream(chunks, at_end), mimetype=state.order.mimetype)
        response.headers["Cache-Control"] = "no-store"  # the rest is still to come
    response.headers["Content-Disposition"] = file_names.attachment(state.order.file_name)
    response.headers[headers.MODEL_USED] = state.order.model
    if state.weights:
        response.headers[headers.MODEL_WEIGHTS] = state.weights
    return response


class _File:
    """A file in pieces, from any position."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.size = path.stat().st_size

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if piece := self._file.read(_PIECE):
            return piece
        raise StopIteration

    def seekable(self) -> bool:
        """For a request of a part."""
        return True

    def seek(self, position: int) -> int:
        """Go on from there."""
        return self._file.seek(position)

    def tell(self) -> int:
        """The position of the next piece."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _path(id: str) -> str:
    return f"/api/jobs/{id}"


def _described(state: JobState) -> dict[str, object]:
    return {
        "id": state.id,
        "state": state.state,
        "url": _path(state.id),
        "result_url": f"{_path(state.id)}/result",
        "file_name": state.order.file_name,
        "model": state.order.model,
        "weights": state.weights,
        "frames_done": state.frames_done,
        "frames_total": state.frames_total,
        "frames_per_second": _rounded(state.frames_per_second),
        "seconds_left": _rounded(state.seconds_left),
        "bytes": state.bytes,
        "warnings": state.warnings,
        "error": state.error,
        "attempts": state.attempts,
        "created_at": _time(state.created_at),
        "started_at": _time(state.started_at),
        "ended_at": _time(state.ended_at),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")

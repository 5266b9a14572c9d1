# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The names of the response headers that clients rely on, and the value that each one carries.

The names are written out on purpose: renaming an attribute must not rename a public header.
"""

from __future__ import annotations

import re

from app.models.base import Provenance
from app.queueing.tickets import QueueFigures
from app.tasks.results import DepthMap, Scene, Timings

_MOST_TEXT = 1000

REQUEST_ID = "X-Request-ID"
#: of requests by which the console follows the state of the service
GLANCE = "X-Console-Glance"
MODEL_USED = "X-Model-Used"
MODEL_WEIGHTS = "X-Model-Weights"
MODEL_REVISION = "X-Model-Revision"
ENGINE = "X-Engine"
PRECISION = "X-Precision"
PREPROCESS_VERSION = "X-Preprocess-Version"
DEPTH_MIN = "X-Depth-Min"
DEPTH_MAX = "X-Depth-Max"
DEPTH_UNIT = "X-Depth-Unit"
FOCAL_LENGTH = "X-Focal-Length-Px"
FIELD_OF_VIEW = "X-Field-Of-View"
FILE_SIZE = "X-File-Size"
FRAMES_TOTAL = "X-Frames-Total"
WARNING = "X-Warning"
QUEUE_CONCURRENCY = "X-Queue-Concurrency"
QUEUE_IN_FLIGHT = "X-Queue-In-Flight"
QUEUE_WAITING = "X-Queue-Waiting"
QUEUE_MAX_QUEUE = "X-Queue-Max-Queue"
QUEUE_MAX_WAIT_SECONDS = "X-Queue-Max-Wait-Seconds"

#: headers that describe how the result of a request was made
PROVENANCE = (MODEL_REVISION, ENGINE, PRECISION, PREPROCESS_VERSION)
#: headers that describe the waiting room
QUEUE = (
    QUEUE_CONCURRENCY,
    QUEUE_IN_FLIGHT,
    QUEUE_WAITING,
    QUEUE_MAX_QUEUE,
    QUEUE_MAX_WAIT_SECONDS,
)
#: headers that CORS lets scripts of other origins read
EXPOSED = (
    MODEL_USED,
    MODEL_WEIGHTS,
    *PROVENANCE,
    DEPTH_MIN,
    DEPTH_MAX,
    DEPTH_UNIT,
    FOCAL_LENGTH,
    FIELD_OF_VIEW,
    FILE_SIZE,
    FRAMES_TOTAL,
    WARNING,
    REQUEST_ID,
    "Content-Disposition",
)


def provenance_values(provenance: Provenance) -> dict[str, str]:
    """The value of each header in ``PROVENANCE``."""
    return {
        MODEL_REVISION: str(provenance.revision),
        ENGINE: str(provenance.engine),
        PRECISION: str(provenance.precision),
        PREPROCESS_VERSION: str(provenance.preprocess_version),
    }


def depth_values(result: DepthMap) -> dict[str, str]:
    """The headers that describe the numbers of a depth map, and the camera where it is known."""
    # Nine digits represent any float32 exactly.
    values = {
        DEPTH_UNIT: result.unit,
        DEPTH_MIN: f"{result.low:.9g}",
        DEPTH_MAX: f"{result.high:.9g}",
    }
    return values | _camera_values(result)


def scene_values(result: Scene) -> dict[str, str]:
    """The headers that describe the distances in a scene, and its camera."""
    return {DEPTH_UNIT: result.unit} | _camera_values(result)


def _camera_values(result: DepthMap | Scene) -> dict[str, str]:
    values = {}
    if result.focal_length is not None:
        values[FOCAL_LENGTH] = f"{result.focal_length:.6g}"
    if result.field_of_view is not None:
        values[FIELD_OF_VIEW] = f"{result.field_of_view:.6g}"
    return values


def text_value(text: str) -> str:
    """A text as the value of a header, which may have visible ASCII letters and blanks only."""
    return re.sub(r"[^\x20-\x7e]", "?", text)[:_MOST_TEXT]


def queue_values(figures: QueueFigures) -> dict[str, str]:
    """The value of each header in ``QUEUE``."""
    return {
        QUEUE_CONCURRENCY: str(figures.concurrency),
        QUEUE_IN_FLIGHT: str(figures.in_flight),
        QUEUE_WAITING: str(figures.waiting),
        QUEUE_MAX_QUEUE: str(figures.max_queue),
        QUEUE_MAX_WAIT_SECONDS: f"{figures.max_wait_seconds:g}",
    }


def stage_seconds(timings: Timings) -> dict[str, float]:
    """The seconds of each stage, by its name in Server-Timing and in the metrics."""
    return {
        "decode": timings.decode,
        "prepare": timings.prepare,
        "wait": timings.wait,
        "infer": timings.infer,
        "finish": timings.finish,
        "encode": timings.encode,
    }

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The routes for films, with the addresses that ImmichVR uses."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import BinaryIO

from flask import Blueprint, Response, g, jsonify, request
from flask.typing import ResponseReturnValue

from app.blueprints import file_names, headers, jobs, managed
from app.blueprints.exchange import disconnect_check, options_given, runtime, uploaded_film
from app.blueprints.streams import Outcome, Stream
from app.errors import BadRequest
from app.jobs.state import Order
from app.rendering import stereo_layouts
from app.tasks.video import Progress
from app.video.options import DepthFilmOptions, StereoFilmOptions
from app.video.work import FilmWork, Output
from app.workers.metrics import Metrics
from config.models import ModelSpec

log = logging.getLogger("twinlens.access")

blueprint = Blueprint("video", __name__)

#: The beginning of the paths of all routes here; their bodies may have MAX_VIDEO_BYTES.
PATH = "/api/video/"
MIMETYPES: dict[Output, str] = {
    "zip": "application/zip",
    "mp4": "video/mp4",
    "mkv": "video/x-matroska",
}


@dataclass(frozen=True)
class FilmRequest:
    """A film, and what is to be made of it."""

    film: BinaryIO
    spec: ModelSpec
    work: FilmWork
    #: of the answer
    file_name: str

    @property
    def mimetype(self) -> str:
        """The content type of the answer."""
        return MIMETYPES[self.work.output]


@blueprint.post("/api/video/depth")
def depth() -> ResponseReturnValue:
    """Answer a film with a ZIP of depth maps, or with a film of them."""
    film, name, spec, as_job, given = _parts()
    work = DepthFilmOptions.parse(given).work()
    start = "depth_frames" if work.output == "zip" else "depth"
    file_name = f"{start}_{file_names.stem(name)}.{work.output}"
    return _answered(FilmRequest(film, spec, work, file_name), as_job)


@blueprint.post("/api/video/sbs")
def sbs() -> ResponseReturnValue:
    """Answer a film with a 3D film."""
    film, name, spec, as_job, given = _parts()
    options = StereoFilmOptions.parse(given)
    work = options.work()
    stem = file_names.stem(name)
    # Players choose the layout by the end of a name; ImmichVR, which does not send ``stereo``,
    # expects a name of its own.
    stem = f"{stem}{stereo_layouts.ending(work)}" if options.stereo else f"sbs_{stem}"
    return _answered(FilmRequest(film, spec, work, f"{stem}.{work.output}"), as_job)


def _parts() -> tuple[BinaryIO, str, ModelSpec, bool, dict[str, str]]:
    """The film of a request, its name, the model, whether it is a job, and the other options."""
    managed.of_depth(request.args.get("model", ""))  # refuses an unknown one before the film comes
    film, name = uploaded_film()
    given = options_given()
    spec = managed.of_depth(given.pop("model", ""))
    return film, name, spec, jobs.is_wanted(given), given


@blueprint.post("/api/video/frames")
def frames() -> ResponseReturnValue:
    """Count the frames that ``depth`` would make with the same options, and describe the film."""
    film, _, _, as_job, given = _parts()
    if as_job:
        raise BadRequest("job: frames are counted at once; leave job out", title="Invalid option")
    work = DepthFilmOptions.parse(given).counting()
    counted = runtime().video.count(film, work, disconnect_check())
    info = counted.info
    width, height = info.size
    return jsonify(
        success=True,
        frame_count=counted.frames,
        width=width,
        height=height,
        frame_rate=round(float(info.frame_rate), 3),
        seconds=info.seconds,
        frames=info.frames,
        container=info.container,
        codec=info.codec,
        rotation=info.rotation,
        is_hdr=info.is_hdr,
        sound=info.sound,
        warnings=counted.warnings,
    )


def _answered(asked: FilmRequest, as_job: bool) -> Response:
    g.model = asked.spec.key
    if not as_job:
        return _made(asked)
    order = Order(
        model=asked.spec.key,
        work=asked.work,
        file_name=asked.file_name,
        mimetype=asked.mimetype,
    )
    return jobs.accept(asked.film, asked.spec, order)


def _made(asked: FilmRequest) -> Response:
    """Start the work, and answer with its bytes as they are made."""
    record = _Record(runtime().metrics, asked.spec.key)
    result = runtime().video.run(
        asked.film, asked.spec, asked.work, disconnect_check(), record.follow
    )
    response = Response(Stream(result.chunks, record.end), mimetype=asked.mimetype)
    response.headers["Content-Disposition"] = file_names.attachment(asked.file_name)
    response.headers[headers.MODEL_USED] = asked.spec.key
    response.headers[headers.MODEL_WEIGHTS] = result.weights
    response.headers.update(headers.provenance_values(result.provenance))
    if record.progress.total is not None:
        response.headers[headers.FRAMES_TOTAL] = str(record.progress.total)
    if result.warnings:
        response.headers[headers.WARNING] = headers.text_value("; ".join(result.warnings))
    record.warnings = result.warnings
    return response


class _Record:
    """Counts the frames of an answer while it is made, and logs its end."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._metrics = metrics
        self._model = model
        self._began = time.monotonic()
        self._path = request.path
        self.progress = Progress(0, None, 0.0)
        self.warnings: list[str] = []

    def follow(self, progress: Progress) -> None:
        """Note the progress; called from another thread."""
        self._metrics.made_frames(self._model, progress.frames - self.progress.frames)
        self.progress = progress

    def end(self, outcome: Outcome, sent: int) -> None:
        """Log the end of the answer."""
        seconds = time.monotonic() - self._began
        fields = {
            "path": self._path,
            "outcome": outcome,
            "model": self._model,
            "frames": self.progress.frames,
            "duration_ms": round(seconds * 1000, 1),
            "frames_per_second": round(self.progress.frames / max(seconds, 0.001), 2),
            "bytes_out": sent,
        }
        if self.warnings:
            fields["warnings"] = "; ".join(self.warnings)
        text = " ".join(f"{name}={value!r}" for name, value in fields.items())
        log.info(text, extra=fields)

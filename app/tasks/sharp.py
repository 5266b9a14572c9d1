# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes splats of photos with SHARP, a program of Apple's that its operator has installed.

Mescheder et al., "Sharp Monocular View Synthesis in Less Than a Second", 2025,
https://arxiv.org/abs/2512.10685. The program is not part of Twinlens; its licence allows research
only. It is used through its documented command, ``sharp predict -i PHOTO -o FOLDER -c CHECKPOINT``,
which writes a PLY of Gaussians into the folder.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from app.decoding.job import Job, Pixels
from app.errors import BadRequest, NotAvailable, TooSlow, TwinlensError
from app.host.temporary import TemporaryFolder
from app.lending.entry import ModelStatus, NetworkStatus
from app.pictures.decode import in_full
from app.rendering import splat_files, splat_reader
from app.rendering.scene_options import DEFAULT_SPLATS, SceneOptions
from app.tasks.camera import Camera
from app.tasks.results import Scene, Timings
from app.tasks.turns import IsGone, Turns
from config.models import ModelSpec

log = logging.getLogger("twinlens.sharp")

_COMMAND = "sharp"
#: where the program comes from, and how to install it
PAGE = "https://github.com/apple/ml-sharp"
_PROJECT = Path(__file__).resolve().parents[2]
# Environment variables that the program gets. Others may hold secrets, or settings of the service's
# own libraries.
_ENVIRONMENT = (
    *("PATH", "LANG", "LC_ALL", "HOME", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "TORCH_HOME"),
    *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
)
_POLL_SECONDS = 0.25
_RETRY_SECONDS = 60
# Part of what the program has printed that goes to the log if it fails.
_LOGGED_BYTES = 4000
# The program writes 66 MB: 1.2 million Gaussians.
_MOST_BYTES = 2**30
# EXIF tags, and the diagonal of the film in millimetres, by which a focal length is told.
_EXIF_PART, _FOCAL_LENGTH_35MM, _DIAGONAL_35MM = 0x8769, 0xA405, 43.27


class SharpTask:
    """Runs the program for one photo at a time, over all workers of the service."""

    def __init__(self, turns: Turns, spec: ModelSpec, folder: Path, seconds: float) -> None:
        """Use the program for a row of the table.

        Args:
            turns: of the service.
            spec: the row, with the family ``SHARP``.
            folder: a folder that all workers share; it gets a lock file.
            seconds: the longest time for one photo.
        """
        self.spec = spec
        self._turns = turns
        self._lock = folder / f"{_COMMAND}.lock"
        self._seconds = seconds

    def lacking(self) -> str | None:
        """Why it cannot be used, and what to do about that; None if it can."""
        return lacking(self.spec)

    def status(self) -> ModelStatus:
        """The state for clients. Nothing has to be loaded: "loaded" means that it can be used."""
        reason = self.lacking()
        state = NetworkStatus(state="unavailable" if reason else "loaded", reason=reason)
        return ModelStatus(self.spec, reason is None, state)

    def run(self, photo: BinaryIO, options: SceneOptions, is_gone: IsGone) -> Scene:
        """Make the scene of a photo.

        Args:
            photo: a file in one of ``decode.FORMATS``; it is closed before this returns.
            options: format and field of view.
            is_gone: tells whether the client has hung up.

        Raises:
            TwinlensError: the photo or the options are unusable, or the program cannot be used now,
                takes too long or fails.
        """
        timings, turns = Timings(), self._turns
        with photo:
            _check_options(options, self.spec)
            if reason := self.lacking():
                raise NotAvailable(
                    f"{self.spec.title}: {reason}",
                    title="Model not available",
                    retry_after=_RETRY_SECONDS,
                    code="model_not_on_disk",
                    reason=reason,
                )
            with turns.room.enter(None, 1, is_gone) as ticket:
                deadline = turns.deadline_check(is_gone)

                def check_running() -> None:
                    turns.room.check_cancelled(ticket)

                def check_waiting() -> None:
                    check_running()
                    deadline()

                with self._alone(check_waiting, timings), TemporaryFolder(kind="sharp") as folder:
                    view = turns.decode(photo, Job(in_full, lambda *_: (), check_waiting), timings)
                    size = view.size
                    with turns.core(check_waiting), timings.stage("prepare"):
                        _write(view, options, folder / "photo.png")
                    del view  # frees a large picture for the time of the inference
                    with timings.stage("infer"):
                        written = self._predict(folder, check_running)
                with turns.core(check_running):
                    with timings.stage("finish"):
                        found = _read(written)
                    with timings.stage("encode"):
                        assert options.format != "glb"
                        file = splat_files.encode(found.splats, options.format)
        camera = Camera(size, 1.0, _focal_length(found))
        return Scene(
            "published",
            None,
            timings,
            file,
            "metres",
            camera.focal_length,
            camera.field_of_view(),
            size,
        )

    @contextmanager
    def _alone(self, check_cancelled: Callable[[], None], timings: Timings) -> Iterator[None]:
        """Wait until no other photo is with the program, and keep others away meanwhile."""
        with self._lock.open("w") as lock:
            with timings.stage("wait"):
                while True:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        check_cancelled()
                        time.sleep(_POLL_SECONDS)
            yield

    def _predict(self, folder: Path, check_cancelled: Callable[[], None]) -> bytes:
        """The PLY that the program makes of ``photo.png`` in a folder. Raises TwinlensError."""
        end = time.monotonic() + self._seconds
        printed, made = folder / "printed", folder / "made"
        with printed.open("wb") as output, self._started(folder, made, output) as process:
            try:
                while process.poll() is None:
                    check_cancelled()
                    if time.monotonic() > end:
                        raise TooSlow(
                            f"{self.spec.title} took longer than {self._seconds:g} seconds "
                            "(INFERENCE_TIMEOUT_SECONDS)",
                            code="inference_timeout",
                        )
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_POLL_SECONDS)
            finally:
                _kill(process)
        file = made / "photo.ply"
        if process.returncode == 0 and file.is_file() and file.stat().st_size <= _MOST_BYTES:
            return file.read_bytes()
        said = printed.read_bytes()[-_LOGGED_BYTES:].decode("utf-8", "replace")
        log.error("%s ended with status %d:\n%s", _COMMAND, process.returncode, said)
        raise _failed()

    def _started(self, folder: Path, made: Path, output: BinaryIO) -> subprocess.Popen[bytes]:
        program = shutil.which(_COMMAND) or _COMMAND
        command = [program, "predict", "-i", str(folder / "photo.png"), "-o", str(made)]
        if self.spec.path is not None:
            command += ["-c", str(self.spec.path)]
        given = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-m", "app.host.tethered", str(os.getpid()), str(folder), *command],
            cwd=_PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=given | {"TMPDIR": str(folder)},
        )


def lacking(spec: ModelSpec) -> str | None:
    """Why the program cannot be used for a row, and what to do about that; None if it can."""
    if shutil.which(_COMMAND) is None:
        return (
            f"the command {_COMMAND} is not on this service's PATH; install Apple's package as "
            f"{PAGE} says (its licence allows research only)"
        )
    if spec.path is not None and not spec.path.is_file():
        return f"there is no checkpoint at the path of its row; {PAGE} says where to get it"
    return None


def _check_options(options: SceneOptions, spec: ModelSpec) -> None:
    """Raise BadRequest for an option that has no meaning for the program."""
    wrong = None
    if options.is_mesh:
        wrong = "format=glb needs a depth model; take format=ply, splat or spz"
    elif options.max_splats != DEFAULT_SPLATS:
        wrong = "max_splats: this model decides itself how many splats it makes; leave it out"
    elif options.depth_range is not None:
        wrong = "depth_range: this model gives metres; leave it out"
    if wrong:
        raise BadRequest(f"{wrong} (model {spec.key})", title="Invalid option")


def _write(view: Pixels, options: SceneOptions, path: Path) -> None:
    """Write the photo as PNG, with its focal length in EXIF data, where the program reads it."""
    focal_length = options.focal_length(view.size) or view.focal_length
    exif = Image.Exif()
    if focal_length is not None:
        width, height = view.size
        millimetres = focal_length * _DIAGONAL_35MM / (width**2 + height**2) ** 0.5
        exif[_EXIF_PART] = {_FOCAL_LENGTH_35MM: max(1, round(millimetres))}
    Image.fromarray(view.image).save(path, compress_level=1, exif=exif)


def _read(written: bytes) -> splat_reader.SplatFile:
    try:
        return splat_reader.read(written)
    except ValueError as error:
        log.error("%s has written %s", _COMMAND, error)
        raise _failed() from None


def _focal_length(found: splat_reader.SplatFile) -> float | None:
    """The focal length that the program has used, which it writes beside the splats; in pixels."""
    matrix = found.elements.get("intrinsic")
    if matrix is None or not len(matrix) or matrix.dtype.names is None:
        return None
    return float(matrix[matrix.dtype.names[0]][0])


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program, if it still runs, with all processes that it has started."""
    if process.poll() is None:  # afterwards the number may belong to others
        os.killpg(process.pid, signal.SIGKILL)


def _failed() -> TwinlensError:
    return TwinlensError(
        f"The program {_COMMAND} has failed; the log has details under the request id"
    )

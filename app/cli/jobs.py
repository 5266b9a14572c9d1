# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The commands ``depth`` and ``embed``: how they process each photo and where results are kept."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.cli import outputs
from app.cli.outputs import Journal
from app.cli.problems import Failed, UsageError
from app.errors import BadRequest, TwinlensError
from app.hub.weights import PUBLISHED
from app.library.folders import Photo
from app.rendering import formats, scenes, stereo_layouts
from app.rendering.options import DepthOptions
from app.rendering.scene_options import SceneOptions
from app.runtime import Runtime
from app.tasks.results import Embeddings
from config.families import Task
from config.models import ModelSpec


class Job(ABC):
    """A command that processes photos."""

    task: Task
    #: files and folders that the command writes
    own: tuple[Path, ...]
    #: the file that lists the photos that failed
    errors: Path

    @abstractmethod
    def open(self, spec: ModelSpec) -> None:
        """Prepare the outputs. Raises UsageError, OSError."""

    def check(self, photos: Sequence[Photo]) -> None:  # noqa: B027
        """Raise UsageError if two photos would have the same output file."""

    @abstractmethod
    def is_done(self, photo: Photo) -> bool:
        """Whether an earlier run has written the result for this photo."""

    @abstractmethod
    def left(self, photos: Sequence[Photo]) -> list[Photo]:
        """The photos that still have to be processed. Raises UsageError."""

    @abstractmethod
    def work(self, photo: Photo, runtime: Runtime, spec: ModelSpec) -> Any:
        """Compute the result for a photo; called in several threads.

        Raises:
            TwinlensError: this photo failed.
            Failed: all further photos would fail, too.
        """

    @abstractmethod
    def keep(self, photo: Photo, result: Any) -> None:
        """Store what ``work`` returned; called in the main thread. Raises OSError."""

    def poll(self) -> None:  # noqa: B027
        """Does nothing: results are written as they come."""

    def failed(self) -> int:
        """None: a photo that fails has no result."""
        return 0

    @abstractmethod
    def close(self, complete: bool) -> None:
        """Finish the outputs. Raises OSError.

        Args:
            complete: whether all photos were processed.
        """


#: suffixes of files that people may expect to get by naming them
_FILES = {kind.suffix for kind in (*formats.KINDS.values(), *scenes.KINDS.values())} | {".jpeg"}


class _FolderJob(Job):
    """Writes a folder with a file for each photo."""

    task: Task = "depth"
    #: what follows the name of a photo in the name of its file
    ending: str

    def __init__(self, out: Path) -> None:
        self._out = out
        self.own = (out,)
        self.errors = out / "errors.txt"

    def open(self, spec: ModelSpec) -> None:  # noqa: ARG002
        """See the base class. Raises UsageError if the folder is named like a file."""
        if self._out.suffix.lower() in _FILES and not self._out.is_dir():
            raise UsageError(
                f"-o {self._out}: allowed: a folder, in which each photo gets a file: -o maps"
            )
        self._out.mkdir(parents=True, exist_ok=True)
        # The descriptor is never closed, so that the folder is locked until the process ends.
        outputs.lock(os.open(self._out, os.O_RDONLY), self._out)

    def is_done(self, photo: Photo) -> bool:
        """See the base class: a photo is done if its file exists."""
        return self._target(photo).exists()

    def check(self, photos: Sequence[Photo]) -> None:
        """See the base class."""
        targets: dict[Path, Photo] = {}
        for photo in photos:
            other = targets.setdefault(self._target(photo), photo)
            if other is not photo:
                raise UsageError(
                    f"{other.path} and {photo.path} would both become {self._target(photo)}: "
                    "give them one after the other, each with its own -o"
                )

    def left(self, photos: Sequence[Photo]) -> list[Photo]:
        """See the base class."""
        self.check(photos)
        return [photo for photo in photos if not self.is_done(photo)]

    def work(self, photo: Photo, runtime: Runtime, spec: ModelSpec) -> None:
        """See the base class; also writes the file."""
        content = self._content(photo, runtime, spec)
        target = self._target(photo)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with outputs.writing(target) as file:
                file.write(content)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise BadRequest("The name of its file would be too long") from None
            raise Failed(f"{target} cannot be written ({error.strerror})") from None

    def keep(self, photo: Photo, result: Any) -> None:
        """See the base class; does nothing, because ``work`` has written the file."""

    def close(self, complete: bool) -> None:
        """See the base class."""

    @abstractmethod
    def _content(self, photo: Photo, runtime: Runtime, spec: ModelSpec) -> bytes:
        """Compute the content of the file for a photo; raises as ``work`` does."""

    def _target(self, photo: Photo) -> Path:
        # The name keeps the photo's suffix, because a.jpg and a.png may lie in the same folder.
        return self._out / photo.place.with_name(f"{photo.place.name}{self.ending}")


class DepthJob(_FolderJob):
    """Writes a folder of depth maps or stereo pairs."""

    def __init__(self, out: Path, options: DepthOptions) -> None:
        super().__init__(out)
        self._options = options
        mark = stereo_layouts.ending(options) if options.is_pair else ""
        self.ending = f"{mark}{formats.KINDS[options.format].suffix}"

    def _content(self, photo: Photo, runtime: Runtime, spec: ModelSpec) -> bytes:
        try:
            runtime.depth.check(spec, self._options)
        except BadRequest as error:
            raise Failed(error.message) from None
        return runtime.depth.run(photo.open(), spec, self._options).file


class SceneJob(_FolderJob):
    """Writes a folder of 3D scenes."""

    def __init__(self, out: Path, options: SceneOptions) -> None:
        super().__init__(out)
        self._options = options
        self.ending = scenes.KINDS[options.format].suffix

    def _content(self, photo: Photo, runtime: Runtime, spec: ModelSpec) -> bytes:
        return runtime.splat.run(photo.open(), spec, self._options).file


class EmbedJob(Job):
    """Writes a file of vectors."""

    task: Task = "embedding"

    def __init__(self, out: Path, image_size: int | None, normalize: bool) -> None:
        if out.suffix not in (".jsonl", ".npz"):
            raise UsageError(f"-o {out}: allowed: a name that ends in .jsonl or .npz")
        self._out = out
        self._rows = out.with_suffix(".jsonl")
        self._image_size = image_size
        self._normalize = normalize
        self.errors = out.with_name(f"{out.name}.errors.txt")
        self.own = (out, self._rows, self.errors)
        self._journal: Journal

    def open(self, spec: ModelSpec) -> None:
        """See the base class."""
        made_with = {
            "model": spec.key,
            "image_size": self._image_size or spec.image_size,
            "normalized": self._normalize,
        }
        self._rows.parent.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(self._rows, made_with)

    def is_done(self, photo: Photo) -> bool:
        """See the base class: a photo is done if the output file has a row for it."""
        return str(photo.path) in self._journal.done

    def left(self, photos: Sequence[Photo]) -> list[Photo]:
        """See the base class."""
        return [photo for photo in photos if not self.is_done(photo)]

    def work(self, photo: Photo, runtime: Runtime, spec: ModelSpec) -> Embeddings:
        """See the base class."""
        result = runtime.embedding.images(
            [photo.open()], spec, normalize=self._normalize, image_size=self._image_size
        )
        if isinstance(result.vectors[0], TwinlensError):
            raise result.vectors[0]
        return result

    def keep(self, photo: Photo, result: Embeddings) -> None:
        """See the base class."""
        (vector,) = result.vectors
        assert not isinstance(vector, TwinlensError)
        made_with = result.provenance
        assert made_with is not None
        extra: dict[str, Any] = {
            "revision": made_with.revision,
            "preprocess_version": made_with.preprocess_version,
        }
        if result.weights != PUBLISHED:
            extra["weights"] = result.weights
        self._journal.add(str(photo.path), vector, extra)

    def close(self, complete: bool) -> None:
        """See the base class."""
        if complete and self._out != self._rows:
            self._journal.write_npz(self._out)
        self._journal.close()

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What ``embed`` and ``depth`` do with a picture of a library, and where its row goes."""

from __future__ import annotations

import errno
import json
import logging
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from app.cli import outputs
from app.cli.problems import Failed, UsageError
from app.errors import BadRequest, TwinlensError
from app.library import addresses, rows
from app.library.folders import is_named_like_picture
from app.library.items import Item
from app.library.map_names import map_name
from app.library.parts import MixedRows, Output, Sink
from app.library.rows import DType, Row, Schema
from app.library.shards import Shard
from app.library.store import Store
from app.models.base import Family
from app.models.embedding_family import EmbeddingFamily
from app.rendering import formats, scenes, stereo_layouts
from app.rendering.options import DepthOptions
from app.rendering.scene_options import SceneOptions
from app.runtime import Runtime
from app.tasks.results import Result
from config.families import Task
from config.models import ModelSpec

log = logging.getLogger("twinlens.cli")

# Reasons that are counted apart; any more are counted together.
_MOST_REASONS = 1000
# A map's name is too long, or one of its folders has the name of another map.
_BAD_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
_MORE_REASONS = "other reasons"
# The folder of the list of maps, below that of the maps.
_LIST = "done"


@dataclass(frozen=True)
class Plan:
    """What the arguments say of a library's output."""

    out: str
    shard: Shard
    retry_errors: bool


class LibraryJob(ABC):
    """A command that processes a library."""

    task: Task
    sink: Sink

    def __init__(self, plan: Plan, output: Output) -> None:
        self.plan = plan
        #: where the rows go
        self.output = output
        #: why pictures failed in this run, and how many
        self.reasons: Counter[str] = Counter()
        #: files that are no pictures
        self.others = 0
        self.done = 0
        #: whether an earlier run has written to the output
        self.is_resumed = False
        # Kept open, so that the output is locked until the process ends.
        self._locks: list[int] = []

    @abstractmethod
    def facts(self, spec: ModelSpec) -> dict[str, str]:
        """What all rows have in common, see ``rows.facts``."""

    @abstractmethod
    def columns(self, family: Family, spec: ModelSpec) -> Schema:
        """Columns of the rows.

        Args:
            family: of the model, with its checkpoint.
            spec: of the model.
        """

    @abstractmethod
    def compute(self, item: Item, runtime: Runtime, spec: ModelSpec) -> Row:
        """The row of a picture that has its result.

        Raises:
            TwinlensError: this picture failed.
            Failed: all further pictures would fail, too.
        """

    def open(self, spec: ModelSpec) -> None:
        """Read what earlier runs have left. Raises UsageError, BadRequest."""
        try:
            self._take_lock()
            retry = self.plan.retry_errors
            self.sink = Sink(self.output, self.facts(spec), self.plan.shard, retry_errors=retry)
            self.is_resumed = self.sink.is_resumed
        except MixedRows as error:
            raise UsageError(str(error)) from None
        except OSError as error:
            reason = addresses.reason(error)
            raise UsageError(f"-o {self.plan.out}: cannot be written ({reason})") from None

    def schema(self, runtime: Runtime, spec: ModelSpec) -> Schema:
        """Columns of the rows, and the commit of the checkpoint. Raises Failed."""
        family = runtime.manager.family(spec)
        if family is None:
            raise Failed(f"{spec.key} is not on disk any more")
        return rows.with_revision(self.columns(family, spec), family.checkpoint.revision)

    def begin(self, runtime: Runtime, spec: ModelSpec) -> None:
        """Prepare for the first row, with the model loaded. Raises BadRequest, Failed."""
        schema = self.schema(runtime, spec)
        if self.sink.schema is not None and not self.sink.schema.equals(schema):
            raise Failed(f"{self.plan.out} has other columns; choose another -o")
        self.sink.schema = schema
        self._writing(self.sink.start)

    def work(self, item: Item, runtime: Runtime, spec: ModelSpec) -> Row | None:
        """The row of an item, with its result or its error; None if it is no picture.

        Raises:
            TwinlensError: the runtime closes.
            Failed: all further pictures would fail, too.
        """
        row = Row(item.id, item.path, spec.key)
        if not item.may_be_picture():
            log.info("%s is no picture", item.path)
            return None
        try:
            return self.compute(item, runtime, spec)
        except TwinlensError as error:
            if runtime.is_closing():
                raise
            return replace(row, error=addresses.text(error.message))
        except Failed:
            raise
        except Exception as error:
            log.error("%s failed", item.path, exc_info=error)
            return replace(row, error="It could not be processed; see the log")

    def keep(self, item: Item, result: Row | None) -> None:  # noqa: ARG002
        """Write the row, or wait for more rows. Raises Failed."""
        if result is None:
            self.others += 1
            return
        self._writing(lambda: self.sink.add(result))
        if result.error is None:
            self.done += 1
        else:
            self.count(result.error)

    def count(self, reason: str, times: int = 1) -> None:
        """Count pictures that failed in this run."""
        is_known = reason in self.reasons or len(self.reasons) < _MOST_REASONS
        self.reasons[reason if is_known else _MORE_REASONS] += times

    def poll(self) -> None:
        """Write the rows that have waited long enough. Raises Failed."""
        self._writing(self.sink.poll)

    def failed(self) -> int:
        """How many pictures failed in this run."""
        return self.reasons.total()

    def close(self, complete: bool) -> None:
        """Finish the output. Raises Failed.

        Args:
            complete: whether nothing is left to do.
        """
        self._writing(lambda: self.sink.close(complete))

    def _writing(self, write: Callable[[], None]) -> None:
        try:
            write()
        except MixedRows as error:
            raise Failed(str(error)) from None
        except OSError as error:
            reason = addresses.reason(error)
            raise Failed(f"{self.plan.out} cannot be written ({reason})") from None

    def _take_lock(self) -> None:
        folder, shard = self.output.parts.folder, self.plan.shard
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if shard.count > 1:
            path = folder / f".shard-{shard.index}-of-{shard.count}.lock"
            self._locks.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))
            outputs.lock(self._locks[0], path)
        # Shards share the folder with each other, but not with a run of everything.
        self._locks.append(os.open(folder, os.O_RDONLY))
        outputs.lock(self._locks[-1], folder, shared=shard.count > 1)


@dataclass(frozen=True)
class VectorOptions:
    """How vectors are made and written."""

    image_size: int | None
    normalize: bool
    dtype: DType
    is_clip_retrieval: bool


class _Common(TypedDict):
    model: str
    normalized: bool
    image_size: int


class VectorsJob(LibraryJob):
    """Writes a table of vectors."""

    task: Task = "embedding"

    def __init__(self, plan: Plan, options: VectorOptions) -> None:
        out = plan.out
        if options.is_clip_retrieval:
            if not options.normalize:
                raise UsageError("--format clip-retrieval takes no --no-normalize")
            if out.endswith(".parquet"):
                raise UsageError("--format clip-retrieval: -o is a folder/")
            out = f"{out.rstrip('/')}/parts/"
        output = Output.parse(out)
        if plan.shard.count > 1 and output.file is not None:
            raise UsageError(f"--shard: -o is a folder that all shards write to: {plan.out}/")
        super().__init__(plan, output)
        self._options = options

    def facts(self, spec: ModelSpec) -> dict[str, str]:
        """See the base class."""
        return rows.vector_facts(self._options.dtype, **self._common(spec))

    def columns(self, family: Family, spec: ModelSpec) -> Schema:
        """See the base class."""
        assert isinstance(family, EmbeddingFamily)
        return rows.schema(family.dims, self._options.dtype, **self._common(spec))

    def compute(self, item: Item, runtime: Runtime, spec: ModelSpec) -> Row:
        """See the base class."""
        options = self._options
        result = runtime.embedding.images(
            [item.open()], spec, normalize=options.normalize, image_size=options.image_size
        )
        (vector,), (size,) = result.vectors, result.sizes
        if isinstance(vector, TwinlensError):
            raise vector
        assert size is not None
        row = Row(item.id, item.path, spec.key, vector, width=size[0], height=size[1])
        return _with_provenance(row, result)

    def close(self, complete: bool) -> None:
        """See the base class."""
        super().close(complete)
        if complete and self._options.is_clip_retrieval and self.plan.shard.count == 1:
            from app.library import clip_retrieval

            out = Store(self.plan.out.rstrip("/"))
            self._writing(lambda: clip_retrieval.export(self.output.parts, out))

    def _common(self, spec: ModelSpec) -> _Common:
        size = self._options.image_size or spec.image_size or 0
        return {"model": spec.key, "normalized": self._options.normalize, "image_size": size}


class MapsJob(LibraryJob):
    """Writes a file for each picture, and a list of them in the folder ``done``."""

    task: Task = "depth"

    def __init__(self, plan: Plan, options: DepthOptions | SceneOptions) -> None:
        out = plan.out.rstrip("/") or "/"
        super().__init__(plan, Output.parse(f"{out}/{_LIST}/"))
        self._maps = Store(out)
        self._options = options
        if isinstance(options, SceneOptions):
            self._ending = scenes.KINDS[options.format].suffix
        else:
            mark = stereo_layouts.ending(options) if options.is_pair else ""
            self._ending = f"{mark}{formats.KINDS[options.format].suffix}"

    def open(self, spec: ModelSpec) -> None:
        """See the base class; also raises UsageError in a folder of maps without a list."""
        # Maps are looked for before the list: a shard that starts just now writes its list first.
        if (name := self._any_map()) and not has_list(self.plan.out):
            raise UsageError(
                f"-o {self.plan.out} has maps without a list, such as {name}, and this run would "
                "make all of them again under other names: go on with a folder as the source and "
                "without --shard and --cluster, or choose another -o"
            )
        super().open(spec)

    def facts(self, spec: ModelSpec) -> dict[str, str]:
        """See the base class."""
        return rows.maps_facts(model=spec.key, options=self._shown())

    def columns(self, family: Family, spec: ModelSpec) -> Schema:  # noqa: ARG002
        """See the base class."""
        return rows.maps_schema(model=spec.key, options=self._shown())

    def compute(self, item: Item, runtime: Runtime, spec: ModelSpec) -> Row:
        """See the base class; also writes the file."""
        name = map_name(item.id) + self._ending
        row = Row(item.id, item.path, spec.key, map=name)
        try:
            # A run that was killed had written this file, and could not list it any more.
            if self.is_resumed and self._maps.exists(name):
                return row
            options = self._options
            if isinstance(options, SceneOptions):
                scene = runtime.splat.run(item.open(), spec, options)
                result: Result = scene
                file, size = scene.file, scene.photo_size
            else:
                try:
                    runtime.depth.check(spec, options)
                except BadRequest as error:
                    raise Failed(error.message) from None
                made = runtime.depth.run(item.open(), spec, options)
                result, file, size = made, made.file, made.photo_size
            # After a power failure no row may list a map that is not there, or only in part.
            self._maps.write(name, file)
        except OSError as error:
            if error.errno in _BAD_NAME:
                raise BadRequest(f"No file can have the name of its map, {name}") from None
            where = f"{self._maps.address}/{name}"
            raise Failed(f"{where} cannot be written ({addresses.reason(error)})") from None
        return _with_provenance(replace(row, width=size[0], height=size[1]), result)

    def close(self, complete: bool) -> None:
        """See the base class."""
        super().close(complete)
        if complete and self.is_resumed:
            self._writing(self._maps.sweep_old)

    def _any_map(self) -> str | None:
        """The name of a map in the output on this machine, if there is one."""
        for _, _, names in os.walk(self._maps.folder) if self._maps.folder else ():
            for name in names:
                photo = name.removesuffix(self._ending)
                if photo != name and is_named_like_picture(photo):
                    return name
        return None

    def _shown(self) -> str:
        given = self._options.model_dump(mode="json", exclude_defaults=True)
        return json.dumps({"format": self._options.format, **given}, sort_keys=True)


def has_list(out: str) -> bool:
    """Whether a folder of this machine has maps that were made with a list of them."""
    return any(Path(out, _LIST).glob("part-*.parquet"))


def _with_provenance(row: Row, result: Result) -> Row:
    made_with = result.provenance
    assert made_with is not None
    return replace(
        row,
        revision=made_with.revision,
        precision=made_with.precision,
        preprocess_version=made_with.preprocess_version,
    )

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes rows as Parquet such that a run can be killed at any time and be gone on with.

Rows are written as parts, each of which appears in the store as a whole. A result is either the
folder of its parts, or one file that is made of them when all is done.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.errors import BadRequest
from app.library import addresses, rows, tables
from app.library.ids import Ids
from app.library.rows import Row, Schema
from app.library.shards import Shard
from app.library.store import Store

_MOST_ROWS = 8192
# Rows are in a part after this many seconds. The first parts come sooner, so that a short run that
# is killed has not worked for nothing.
_FIRST_SECONDS, _MOST_SECONDS = 1.0, 30.0
# Small parts of one run become one when they are this many, or have this many rows.
_MANY_PARTS, _MANY_ROWS = 64, 65_536
_NAME = re.compile(r"part-(\d{5,6})-of-(\d{5,6})-(\d{6,})-[0-9a-f]{8}\.parquet")


class MixedRows(Exception):
    """A row does not belong to those that were written before; the message says what to do."""


@dataclass(frozen=True)
class Output:
    """Where rows go."""

    #: the folder of the parts
    parts: Store
    #: the folder and name of the file that is made of them; None: the parts are the result
    file: tuple[Store, str] | None

    @classmethod
    def parse(cls, out: str) -> Output:
        """A folder if it ends in a slash or is one, else a file. Raises BadRequest."""
        is_folder = addresses.is_local(out) and Path(out).is_dir()
        if out.endswith("/") or is_folder:
            return cls(Store(out), None)
        if not out.endswith(".parquet"):
            raise BadRequest(
                f"-o {out}: allowed: a name that ends in .parquet, .jsonl or .npz, or a folder/"
            )
        folder, _, name = out.rpartition("/")
        above = f"{folder}/" if _ else "."
        return cls(Store(f"{out}.parts"), (Store(above), name))


class Sink:
    """The rows of one run, and what earlier runs have left.

    Ids of which the output has a row are in ``done``, as far as this run's shard holds them.
    """

    def __init__(
        self,
        output: Output,
        facts: Mapping[str, str],
        shard: Shard = Shard(),  # noqa: B008 - it is frozen
        *,
        retry_errors: bool = False,
    ) -> None:
        """Read what is there.

        Args:
            output: where rows go.
            facts: what all rows have in common, see ``rows.facts``.
            shard: the part of the library that this run does.
            retry_errors: forget the rows of pictures that failed.

        Raises:
            BadRequest, MixedRows: other rows are there, or something else.
            OSError: the store cannot be read.
        """
        self._output = output
        self._facts = facts
        self._shard = shard
        #: columns of the rows; the caller sets them before the first row
        self.schema: Schema = None
        self.done = Ids()
        #: pictures that failed in earlier runs
        self.failed_before = 0
        #: commit of the checkpoint that all rows were made with; None if there are none yet
        self.revision: str | None = None
        self._rows: list[Row] = []
        self._number = 0
        self._small: dict[str, int] = {}
        self._seconds = _FIRST_SECONDS
        self._since = time.monotonic()
        output.parts.sweep(self._prefix())
        names = self._cleaned(output.parts.names())
        #: whether an earlier run was here
        self.is_resumed = bool(names)
        for name in names:
            self._read(output.parts, name, retry_errors)
            if found := _NAME.fullmatch(name):
                self._number = max(self._number, int(found[3]) + 1)
        if output.file is not None and output.file[0].exists(output.file[1]):
            self.is_resumed = True
            self._read(*output.file, retry_errors)
        self._compare_shards()

    def start(self) -> None:
        """Write down what rows will have in common, before there is a row.

        Raises:
            BadRequest, MixedRows: another shard, which may have started at the same time, has
                written down something else.
            OSError: it cannot be written.
        """
        revision = rows.revision_of(self.schema)
        check_revision(self._facts["model"], revision, self.revision)
        self.revision = revision or self.revision
        if self.is_resumed:
            return
        name = self._write_part([])
        try:
            self._compare_shards()
        except (BadRequest, MixedRows):
            self._output.parts.remove(name)
            raise

    def add(self, row: Row) -> None:
        """Take a row, which waits until it is time to write a part.

        Raises:
            MixedRows: it does not belong to the others.
            OSError: it cannot be written.
        """
        if row.revision is not None:
            check_revision(row.model, row.revision, self.revision)
            self.revision = row.revision
        self._rows.append(row)
        if len(self._rows) >= _MOST_ROWS:
            self.flush()

    def poll(self) -> None:
        """Write a part if it is time; to be called often. Raises MixedRows, OSError."""
        if time.monotonic() - self._since >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait. Raises MixedRows, OSError."""
        self._since = time.monotonic()
        if self._rows:
            self._seconds = min(2 * self._seconds, _MOST_SECONDS)
            name = self._write_part(self._rows)
            self._small[name] = len(self._rows)
            self._rows = []
        if len(self._small) >= _MANY_PARTS or sum(self._small.values()) >= _MANY_ROWS:
            self._join()

    def close(self, complete: bool) -> None:
        """Write what waits; of a complete result make the one file. Raises MixedRows, OSError."""
        self.flush()
        if self._output.file is None:
            self._join()
        elif complete:
            self._finish(*self._output.file)

    # -- reading -------------------------------------------------------------------------------

    def _cleaned(self, names: list[str]) -> list[str]:
        """Remove the parts whose rows another part has taken over just before a run was killed."""
        found = [name for name in names if name.endswith(".parquet") and self._may_hold(name)]
        gone = set()
        for name in found:
            schema = tables.schema_of(self._output.parts, name)
            gone |= set(tables.replaced(schema)) & set(found)
        for name in gone:
            self._output.parts.remove(name)
        return [name for name in found if name not in gone]

    def _may_hold(self, name: str) -> bool:
        """Whether a part may have rows of this run's shard. Other shards write at the same time."""
        found = _NAME.fullmatch(name)
        index, count = map(int, found.groups()[:2]) if found else (0, 0)
        return count != self._shard.count or index == self._shard.index

    def _compare_shards(self) -> None:
        """Check that other shards make the same of their pictures.

        Reading one of their parts is enough, since each shard does so after it has written one.
        """
        for name in self._output.parts.names():
            if name.endswith(".parquet") and not self._may_hold(name):
                with suppress(FileNotFoundError):  # it was joined with others meanwhile
                    self._checked_schema(self._output.parts, name)
                    return

    def _checked_schema(self, store: Store, name: str) -> Schema:
        """The columns of a file whose rows belong to those of this run."""
        where = f"{store.address}/{name}"
        schema = tables.schema_of(store, name)
        if not {"id", "error", "revision"} <= set(schema.names):
            raise BadRequest(
                f"{where} has other columns than this command writes; choose another -o"
            )
        if (facts := rows.facts(schema)) != self._facts:
            raise BadRequest(
                f"{where} was made with {_shown(facts)}, not with {_shown(self._facts)}; choose "
                "another -o"
            )
        revision = rows.revision_of(schema)
        check_revision(facts["model"], self.revision, revision)
        self.revision = self.revision or revision
        return schema

    def _read(self, store: Store, name: str, retry_errors: bool) -> None:
        """Take over the ids of a file."""
        schema = self._checked_schema(store, name)
        self.schema = self.schema or tables.plain(schema)
        failed = 0
        for batch in tables.batches(store, name, ["id", "error", "revision"]):
            columns = (batch.column(each).to_pylist() for each in ("id", "error", "revision"))
            for id, error, revision in zip(*columns, strict=True):
                self.revision = self.revision or revision
                if not self._shard.holds(id):
                    continue
                failed += error is not None
                if error is None or not retry_errors:
                    self.done.add(id)
        if failed and retry_errors:
            self._forget_errors(store, name, schema)
        else:
            self.failed_before += failed

    def _forget_errors(self, store: Store, name: str, schema: Schema) -> None:
        """Write a file anew without the pictures that failed, which are then tried again."""
        if self._shard.count > 1 and not name.startswith(self._prefix()):
            raise BadRequest(
                f"--retry-errors: {store.address}/{name} was not written by --shard {self._shard}: "
                "use the same shards as before, or none"
            )
        tables.write(store, name, schema, tables.without_errors(tables.batches(store, name)))

    # -- writing -------------------------------------------------------------------------------

    def _write_part(self, part: list[Row]) -> str:
        try:
            table = rows.table(part, self.schema)
        except ArithmeticError as error:
            raise MixedRows(str(error)) from None
        name = self._next_name()
        self._output.parts.write(name, tables.encoded(table))
        return name

    def _next_name(self) -> str:
        # The random end keeps two runs that should not be there together from losing rows.
        number, self._number = self._number, self._number + 1
        return f"{self._prefix()}{number:06d}-{secrets.token_hex(4)}.parquet"

    def _prefix(self) -> str:
        return f"part-{self._shard.index:05d}-of-{self._shard.count:05d}-"

    def _join(self) -> None:
        """Make one part of the small ones of this run."""
        names, self._small = list(self._small), {}
        if len(names) < 2:
            return
        store, schema = self._output.parts, tables.replacing(self.schema, names)
        tables.write(store, self._next_name(), schema, self._all(store, names))
        for name in names:
            store.remove(name)

    def _finish(self, store: Store, name: str) -> None:
        """Make the one file of what it had before and all parts."""
        parts = self._output.parts
        names = [each for each in parts.names() if each.endswith(".parquet")]
        if not names:
            parts.remove_folder()
            return
        seen = Ids()  # after a kill in this method the file has rows that are in parts, too

        def every() -> Iterator[tables.Batch]:
            if store.exists(name):
                yield from tables.new_rows(tables.batches(store, name), seen)
            yield from tables.new_rows(self._all(parts, names), seen)

        tables.write(store, name, self.schema, every())
        for each in names:
            parts.remove(each)
        parts.remove_folder()

    def _all(self, store: Store, names: Iterable[str]) -> Iterator[tables.Batch]:
        for name in names:
            yield from tables.batches(store, name)


def check_revision(model: str, now: str | None, before: str | None) -> None:
    """Raise MixedRows if rows would be made with another checkpoint than those before them."""
    if now is not None and before is not None and now != before:
        raise MixedRows(
            f"the rows in -o were made with revision {before} of {model}, "
            f"which is now {now}: choose another -o"
        )


def _shown(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())

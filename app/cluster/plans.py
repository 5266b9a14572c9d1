# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The plan of a cluster's run, on disk beside its results: what to do, in units of some pictures.

A plan is a manifest: Parquet files whose row groups are the units. Each unit becomes one part of
the output, under a name that follows from the unit alone, and appears there as a whole. Each
picture gets exactly one row, whatever is killed and when, because of three facts:

- a picture is in one unit only, because a new plan leaves out what older plans or parts have;
- a unit that runs twice (on a machine that was taken for dead, or in a job whose driver was killed)
  replaces its part with the same rows;
- a unit with a part is never run again.
"""

from __future__ import annotations

import errno
import io
import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, unquote

from app.cluster import descriptions
from app.cluster.descriptions import Description
from app.library import tables
from app.library.items import Item
from app.library.rows import Schema, Table
from app.library.store import Store

#: The folder of plans, below the one of the parts. Programs that read parts skip names with a dot.
_FOLDER = ".cluster"
# Units grow with the library. Small ones spread a small library over all machines and lose little
# in a kill; large ones keep the number of parts of a large library within reason.
_FEWEST_ROWS, _MOST_ROWS, _UNITS_BEFORE_GROWTH = 16, 512, 64
# A file of the manifest has as many units, or fewer if the pictures themselves are in it.
_FILE_UNITS, _UNIT_BYTES, _FILE_BYTES = 128, 2**25, 2**27
_END, _CLAIM = ".json", ".revision"
# The part without rows that says what the rows of all others have in common.
_START = "part-cluster-start.parquet"


@dataclass(frozen=True)
class Unit:
    """Some pictures, which are done together."""

    plan: str
    #: number of the manifest's file, and of the row group there
    file: int
    group: int

    @property
    def part(self) -> str:
        """Name of its part."""
        return f"part-cluster-{self.plan}-{self.file:06}-{self.group:03}.parquet"

    @property
    def manifest(self) -> str:
        """Name of the manifest's file."""
        return _file(self.plan, self.file)


class Plans:
    """All plans of an output."""

    def __init__(self, parts: Store) -> None:
        """Open the folder of plans, which need not exist; nothing is read yet."""
        self._parts = parts
        self._store = Store(f"{parts.address}/{_FOLDER}")

    def open_units(self) -> list[Unit]:
        """The units that have no part yet. Raises OSError."""
        done = set(self._parts.names())
        return [unit for unit in self._units() if unit.part not in done]

    def rows(self, unit: Unit) -> list[Description]:
        """The pictures of a unit. Raises OSError."""
        rows: list[Description] = self._read(unit).to_pylist()
        return rows

    def ids(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, list[str]]]:
        """The ids of units. Raises OSError."""
        for unit in units:
            yield unit, self._read(unit, ["id"]).column(0).to_pylist()

    def write(self, items: Iterable[Item]) -> int:
        """Plan pictures; returns their number. Raises OSError.

        Only one unit is in memory at a time. The plan is valid from the end of this call on; what a
        killed one has left is not read.
        """
        plan = f"{len(self._plans()):04}-{secrets.token_hex(4)}"
        manifest = _Manifest(self._store, plan)
        for item in items:
            manifest.add(descriptions.described(item))
        if units := manifest.close():
            self._store.write(plan + _END, json.dumps({"units": units}).encode())
        return manifest.count

    def start(self, schema: Schema) -> None:
        """Write down what rows will have in common, before there is a row or a map. Raises OSError.

        A run that is stopped before its first unit is done may have written maps, which the next
        run must not take for those of another model or of other options.
        """
        if not self._parts.exists(_START):
            self._parts.write(_START, tables.encoded(schema.empty_table()))

    def claim(self, revision: str) -> set[str]:
        """Write down which commit of the checkpoint a machine has; returns those of all machines.

        Of two machines that differ, at least the one that reads last sees both. Raises OSError.
        """
        name = f"{quote(revision, safe='')}.{secrets.token_hex(4)}{_CLAIM}"
        self._store.write(name, revision.encode(), durable=False)
        return {unquote(name.rsplit(".", 2)[0]) for name in self._claims()}

    def forget_claims(self) -> None:
        """Delete the claims of earlier runs. Raises OSError."""
        for name in self._claims():
            self._store.remove(name)

    def publish(self, unit: Unit, table: Table) -> None:
        """Write the part of a unit as a whole. Raises OSError."""
        self._parts.write(unit.part, tables.encoded(table))

    def close_unit(self, unit: Unit, schema: Schema) -> None:
        """Give a unit an empty part, so that it is never run. Raises OSError."""
        self.publish(unit, schema.empty_table())

    def has_part(self, unit: Unit) -> bool:
        """Whether a unit is done. Raises OSError."""
        return self._parts.exists(unit.part)

    def errors(self, unit: Unit) -> list[str | None]:
        """Of all rows of a unit that is done, why they failed. Raises OSError."""
        found = tables.batches(self._parts, unit.part, ["error"])
        return [error for batch in found for error in batch.column(0).to_pylist()]

    def remove(self) -> None:
        """Delete all plans, when all units have parts, and what killed runs have left."""
        for name in self._store.names():
            with suppress(OSError):
                self._store.remove(name)
        self._store.remove_folder()
        self._parts.sweep("part-cluster-")

    def _read(self, unit: Unit, columns: list[str] | None = None) -> Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with self._store.open(unit.manifest) as file, pq.ParquetFile(file) as table:
                return table.read_row_group(unit.group, columns=columns)
        except pa.ArrowException:
            raise OSError(
                errno.EIO,
                f"the plan {unit.manifest} is damaged: delete the folder {_FOLDER} there, and run "
                "the command again",
            ) from None

    def _claims(self) -> list[str]:
        return [name for name in self._store.names() if name.endswith(_CLAIM)]

    def _plans(self) -> list[str]:
        return [name.removesuffix(_END) for name in self._store.names() if name.endswith(_END)]

    def _units(self) -> Iterator[Unit]:
        for plan in self._plans():
            with self._store.open(plan + _END) as file:
                units = json.load(file)["units"]
            for number, groups in enumerate(units):
                yield from (Unit(plan, number, group) for group in range(groups))


class _Manifest:
    """Writes the files of one plan."""

    def __init__(self, store: Store, plan: str) -> None:
        self._store = store
        self._plan = plan
        self.count = 0
        self._rows: list[Description] = []
        self._bytes = 0
        self._units: list[Table] = []
        #: units of each file
        self._files: list[int] = []

    def add(self, row: Description) -> None:
        """Take a picture."""
        self._rows.append(row)
        self._bytes += len(row["content"] or b"")
        self.count += 1
        size = min(_MOST_ROWS, max(_FEWEST_ROWS, self.count // _UNITS_BEFORE_GROWTH))
        if len(self._rows) >= size or self._bytes >= _UNIT_BYTES:
            self._end_unit()

    def close(self) -> list[int]:
        """Write what waits; returns the number of units of each file."""
        if self._rows:
            self._end_unit()
        if self._units:
            self._end_file()
        return self._files

    def _end_unit(self) -> None:
        import pyarrow as pa

        self._units.append(pa.Table.from_pylist(self._rows, descriptions.schema()))
        self._rows, self._bytes = [], 0
        large = sum(table.nbytes for table in self._units) >= _FILE_BYTES
        if large or len(self._units) == _FILE_UNITS:
            self._end_file()

    def _end_file(self) -> None:
        import pyarrow.parquet as pq

        file = io.BytesIO()
        with pq.ParquetWriter(file, descriptions.schema(), compression="zstd") as writer:
            for table in self._units:
                writer.write_table(table, row_group_size=len(table))
        self._store.write(_file(self._plan, len(self._files)), file.getbuffer())
        self._files.append(len(self._units))
        self._units = []


def _file(plan: str, number: int) -> str:
    return f"{plan}-{number:06}.parquet"

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Plans a run and has a cluster do it; this is the driver's side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import compress, islice

from app.cluster.plans import Plans
from app.cluster.ray_data import Actors, ClusterFailed, outcomes, until_stopped
from app.cluster.work import Work
from app.cluster.worker import Outcome, outcome
from app.library.ids import Ids
from app.library.items import Item, LocalFile
from app.library.rows import Schema
from app.library.store import Store

# Reading the first bytes of files on a NAS is slow, but many can be read at the same time.
_THREADS, _BATCH = 16, 1024
# A unit that ends its actor each time is given up after this many passes without a new part.
_PASSES = 3


class Job:
    """One run of a command on a cluster."""

    def __init__(self, parts: Store, done: Ids) -> None:
        """Take over an output.

        Args:
            parts: its folder.
            done: the ids that have a row; the ids of what earlier runs have planned are added.
        """
        self._plans = Plans(parts)
        self._known = done
        self._given = Ids()
        #: pictures whose ids came before in the same run
        self.repeated = 0
        #: files that are no pictures
        self.others = 0

    def plan(self, items: Iterable[Item], schema: Schema) -> int:
        """Write down what is left to do; returns the number of pictures.

        Args:
            items: the library.
            schema: columns of the rows that are there; None if there are none.

        Raises:
            BadRequest: a source cannot be read.
            OSError: the plan cannot be written.
        """
        self._plans.forget_claims()
        return self._take_over(schema) + self._plans.write(self._new(items))

    def _take_over(self, schema: Schema) -> int:
        """Add the units that earlier runs have left; returns the number of their pictures."""
        count = 0
        for unit, ids in self._plans.ids(self._plans.open_units()):
            if schema is not None and any(id in self._known for id in ids):
                # A run without a cluster has gone on with this output meanwhile. What it has left
                # of the unit comes into a new plan.
                self._plans.close_unit(unit, schema)
            else:
                self._known.update(ids)
                count += len(ids)
        return count

    def _new(self, items: Iterable[Item]) -> Iterator[Item]:
        """The pictures that are neither done nor planned, each once."""
        every = iter(items)
        with ThreadPoolExecutor(_THREADS) as pool:
            while batch := list(islice(every, _BATCH)):
                first = [item for item in batch if self._given.add(item.id)]
                self.repeated += len(batch) - len(first)
                new = [item for item in first if item.id not in self._known]
                if _are_files(new):
                    found = list(pool.map(_may_be_picture, new))
                    self.others += found.count(False)
                    new = list(compress(new, found))
                yield from new

    def run(
        self,
        work: Work,
        actors: Actors,
        keep: Callable[[Outcome], None],
        is_stopped: Callable[[], bool],
    ) -> bool:
        """Do all planned units, on the cluster that is connected; returns whether all are done.

        A unit whose actor died comes again in the next pass, unless its part was written before.

        Args:
            work: what to do.
            actors: that do it.
            keep: called for what became of each unit, once.
            is_stopped: tells whether the user asks to stop.

        Raises:
            ClusterFailed: it cannot go on.
            OSError: the plan or a part cannot be read.
        """
        passes, before = 0, 0
        units = self._plans.open_units()
        while units and not is_stopped():
            passes = passes + 1 if len(units) == before else 1
            before = len(units)
            if passes > _PASSES:
                raise ClusterFailed(
                    f"{before} parts are missing: the processes that make them die each time, "
                    "perhaps for lack of memory; the logs of Ray say more"
                )
            untold = {unit.part: unit for unit in units}
            found = outcomes(units, work, actors)
            for each in until_stopped(found, is_stopped):
                if each["problem"]:
                    raise ClusterFailed(each["problem"])
                if untold.pop(each["part"], None):
                    keep(each)
            units = self._plans.open_units()
            # A machine may be lost after it wrote a part and before the driver learns of it.
            for part in untold.keys() - {unit.part for unit in units}:
                keep(outcome(untold[part], self._plans.errors(untold[part])))
        return not units

    def clean_up(self) -> None:
        """Delete the plans, of which all is done. Raises OSError."""
        self._plans.remove()


def _may_be_picture(item: Item) -> bool:
    return item.may_be_picture()


def _are_files(items: Iterable[Item]) -> bool:
    """Whether some were found by a walk through a folder, and may be no pictures."""
    return any(isinstance(item, LocalFile) and item.is_found for item in items)

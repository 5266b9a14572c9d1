# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""An actor of the cluster: a process on some machine that holds the runtime and does units."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from app.cluster import descriptions
from app.cluster.plans import Plans, Unit
from app.cluster.work import Work
from app.errors import OperationFailed, TwinlensError
from app.host import memory
from app.library import addresses, rows
from app.library.items import Item
from app.library.parts import MixedRows, check_revision
from app.library.rows import Row
from app.library.store import Store
from app.runtime import Runtime
from config.logging import configure_logging
from config.settings import load_settings

log = logging.getLogger("twinlens.cluster")

_LONGEST_WAIT_SECONDS = 86_400
#: units that an actor has under way at the same time, so that the device has work while one ends
UNITS_AT_A_TIME = 2

Outcome = dict[str, Any]


class Worker:
    """Does units. Ray Data makes one in each of its actors, and calls it in several threads."""

    def __init__(self, work: Work, cores: int, jobs: int) -> None:
        """Start a runtime and load the model. The first on a machine downloads and converts it,
        while others wait for its lock.

        Args:
            work: what to do.
            cores: that this actor may use. Ray tells only OpenMP, and OpenVINO does not read that.
            jobs: pictures that are under way at a time.
        """
        self._work = work
        self._plans = Plans(Store(work.parts))
        ours = {
            "ENABLED_FAMILIES": work.command.task,
            # The runtime takes its part of the machine, as one of so many workers.
            "WEB_CONCURRENCY": str(max(1, memory.usable_cores() // cores)),
            "WARMUP_ON_STARTUP": "true",
            "IMAGE_EMBEDDER_MAX_QUEUE": str(UNITS_AT_A_TIME * jobs),
            "IMAGE_EMBEDDER_MAX_WAIT_SECONDS": str(_LONGEST_WAIT_SECONDS),
        }
        settings = load_settings({**os.environ, **ours})
        configure_logging(settings)
        os.environ["HF_HUB_OFFLINE"] = "1"  # only the download process may ask the hub
        memory.share_one_arena()
        self._runtime = Runtime(settings)
        self._runtime.start()
        try:
            self._runtime.operations.load(work.spec, "auto", lambda: None)
        except OperationFailed as error:
            raise RuntimeError(f"{error.title}: {error.message}") from None
        self._fetcher = self._runtime.fetcher if settings.allow_remote_image_urls else None
        self._schema = work.command.schema(self._runtime, work.spec)
        self._check_revision()
        self._plans.start(self._schema)
        self._pool = ThreadPoolExecutor(jobs)

    def __call__(self, batch: Mapping[str, Any]) -> Outcome:
        """Do the units of a batch, and tell what became of each."""
        units = zip(*(batch[name].tolist() for name in ("plan", "file", "group")), strict=True)
        return columns(self._do(Unit(*unit)) for unit in units)

    def _do(self, unit: Unit) -> Outcome:
        if not self._plans.has_part(unit):  # it has one if Ray runs a unit again
            try:
                described = self._plans.rows(unit)
            except OSError as error:
                reason = addresses.reason(error)
                return outcome(unit, [], f"{self._work.parts} cannot be read ({reason})")
            try:
                items = [descriptions.item(row, self._fetcher) for row in described]
                found = [row for row in self._pool.map(self._row, items) if row is not None]
                if self._runtime.is_closing():
                    raise self._runtime.refusal()
                self._plans.publish(unit, rows.table(found, self._schema))
            except TwinlensError as error:
                # The device is lost or hangs, which says nothing about the pictures.
                log.critical("%s; this actor ends", error.message)
                os._exit(1)
            except OSError as error:
                return outcome(unit, [], f"results cannot be written ({addresses.reason(error)})")
            except Exception as error:
                return outcome(unit, [], str(error) or type(error).__name__)
        return outcome(unit, self._plans.errors(unit))

    def _check_revision(self) -> None:
        """Raise an error unless all machines, and earlier runs, have the same checkpoint."""
        model, revision = self._work.spec.key, rows.revision_of(self._schema)
        try:
            check_revision(model, revision, self._work.revision)
        except MixedRows as error:
            raise RuntimeError(str(error)) from None
        if revision and len(found := self._plans.claim(revision)) > 1:
            raise RuntimeError(
                f"the machines of the cluster hold different checkpoints of {model}: "
                f"{', '.join(sorted(found))}; give all of them the same"
            )

    def _row(self, item: Item) -> Row | None:
        return self._work.command.work(item, self._runtime, self._work.spec)

    def __del__(self) -> None:
        if runtime := getattr(self, "_runtime", None):
            runtime.close()


def outcome(unit: Unit, errors: list[str | None], problem: str = "") -> Outcome:
    """What became of a unit.

    Args:
        unit: the unit.
        errors: of each picture; None if it is done.
        problem: what all further units would have, too.
    """
    reasons = Counter(error for error in errors if error is not None)
    return {
        "part": unit.part,
        "done": len(errors) - reasons.total(),
        "reasons": json.dumps(reasons),
        "problem": problem,
    }


def columns(outcomes: Iterable[Outcome]) -> Outcome:
    """Outcomes as a batch of Ray Data."""
    every = list(outcomes)
    return {name: np.array([each[name] for each in every]) for name in every[0]}

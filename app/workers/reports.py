# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Status reports of the workers, merged so that every worker gives clients the same answers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress

from pydantic import BaseModel, Field

from app.engines.devices import Device
from app.host import atomic, memory
from app.host.shared_state import SharedState
from app.lending.entry import ModelStatus, NetworkStatus, State
from app.lending.manager import Manager
from app.lending.registry import networks_of
from app.models.base import NetworkId
from app.workers.crashes import Crashes
from config.models import ModelSpec

# If workers report different states of a network, the first of these is shown.
_STATES: tuple[State, ...] = (
    "loaded",
    "loading",
    "unavailable",
    "downloading",
    "not_loaded",
)

DEVICE_LOST = "the device is lost"


class Report(BaseModel):
    """The report of one worker. Networks are identified by ``str(NetworkId)``."""

    device: Device | None = None
    allocated_mb: float = 0.0
    reserved_mb: float = 0.0
    #: the reason why ``/health`` should answer 503
    trouble: str | None = None
    #: for each network, the number of the last order that this worker followed (order_book.py)
    followed: dict[str, int] = Field(default_factory=dict)
    #: for each network whose last order failed, the reason
    failed: dict[str, str] = Field(default_factory=dict)
    #: result of the last clean-up that was ordered
    cleaned: memory.CleanUp | None = None
    networks: dict[str, NetworkStatus] = Field(default_factory=dict)


class Reports:
    """Writes this worker's report to a file and reads those of the others.

    The master removes the file of a worker that has ended.
    """

    def __init__(
        self, shared: SharedState, manager: Manager, networks: Iterable[NetworkId]
    ) -> None:
        self._shared = shared
        self._manager = manager
        self._networks = list(networks)
        self._crashes = Crashes(shared.folder)
        self._writing = threading.Lock()
        #: parts of this worker's report that ``Workers`` fills in
        self.followed: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self.cleaned: memory.CleanUp | None = None
        self.trouble: str | None = None

    def write(self) -> None:
        """Write this worker's report."""
        path = self._shared.report_path(self._shared.slot)
        with self._writing, suppress(OSError):  # a full /dev/shm must not stop the worker
            atomic.write_text(path, self._own().model_dump_json())

    def all(self) -> list[Report]:
        """The reports of all running workers; this worker's comes first and is made anew."""
        reports = [self._own()]
        for slot in self._shared.workers():
            if slot != self._shared.slot:
                # A worker that has just started may not have written its report yet.
                with suppress(OSError, ValueError):
                    text = self._shared.report_path(slot).read_bytes()
                    reports.append(Report.model_validate_json(text))
        return reports

    def statuses(self) -> list[ModelStatus]:
        """The status of all models, in the order of the table."""
        reports = self.all()
        specs = dict.fromkeys(id.spec for id in self._networks)
        return [self._merged(spec, reports) for spec in specs]

    def status(self, spec: ModelSpec) -> ModelStatus:
        """The status of a model in the whole service; never waits for a load."""
        return self._merged(spec, self.all())

    def troubles(self) -> list[str]:
        """The reasons why the service is not healthy, without duplicates."""
        reasons = {report.trouble for report in self.all() if report.trouble}
        reasons |= {crash.reason() for crash in self._crashes.repeated()}
        if master := self._shared.master_trouble():
            reasons.add(master)
        return sorted(reasons)

    def device(self) -> Device | None:
        """The device of the service. If workers use several, its name lists all of them."""
        devices = {each.device.type: each.device for each in self.all() if each.device}
        if len(devices) < 2:
            return next(iter(devices.values()), None)
        names = ", ".join(devices[key].name for key in sorted(devices))
        return Device(next(iter(devices)).partition(":")[0], names)

    def memory(self) -> memory.MemoryFigures:
        """Device memory of all workers together, and the resident memory of the largest one."""
        reports = self.all()
        return memory.MemoryFigures(
            round(sum(report.allocated_mb for report in reports), 1),
            round(sum(report.reserved_mb for report in reports), 1),
            max(memory.resident_mb(self._shared.pid(slot)) for slot in self._shared.workers()),
        )

    def reserved_on_own_device(self) -> float:
        """Memory that all workers together hold on this worker's device, in MB (2**20 bytes)."""
        own, *others = self.all()
        return own.reserved_mb + sum(
            report.reserved_mb for report in others if report.device == own.device
        )

    def set_trouble(self, reason: str | None) -> None:
        """Set the reason why this worker is not healthy, or None if it is healthy again.

        DEVICE_LOST stays until the worker is replaced.
        """
        if reason != self.trouble and self.trouble != DEVICE_LOST:
            self.trouble = reason
            self.write()

    def _own(self) -> Report:
        figures = memory.figures()
        return Report(
            device=self._manager.known_device(),
            allocated_mb=figures.allocated_mb,
            reserved_mb=figures.reserved_mb,
            trouble=self.trouble,
            followed=self.followed.copy(),
            failed=self.failed.copy(),
            cleaned=self.cleaned,
            # Downloads are not reported: the worker that answers reads their state from disk, where
            # it is never out of date.
            networks={str(id): self._manager.network_status(id) for id in self._networks},
        )

    def _merged(self, spec: ModelSpec, reports: list[Report]) -> ModelStatus:
        """The status of a model from the reports of all workers.

        A network counts as loaded when one worker has loaded it, because the others follow the same
        order.
        """
        networks = {
            id.name: min(
                (each.networks[str(id)] for each in reports if str(id) in each.networks),
                key=lambda status: _STATES.index(status.state),
            )
            for id in networks_of(spec)
        }
        return self._manager.describe(spec, networks)

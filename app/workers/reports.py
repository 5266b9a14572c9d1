# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What each worker says of itself, and all of it together: the same from whichever answers."""

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

# Of several workers, the state that tells most.
_STATE_PRIORITY: tuple[State, ...] = (
    "loaded",
    "loading",
    "unavailable",
    "downloading",
    "not_loaded",
)

DEVICE_LOST = "the device is lost"


class Report(BaseModel):
    """One worker."""

    device: Device | None = None
    allocated_mb: float = 0.0
    reserved_mb: float = 0.0
    #: why /health should be 503
    trouble: str | None = None
    #: number of the last order that was followed, by network; see app/workers/orders.py
    followed: dict[str, int] = Field(default_factory=dict)
    #: those of them that failed, and why
    failed: dict[str, str] = Field(default_factory=dict)
    cleaned: memory.CleanUp | None = None
    #: by ``str(NetworkId)``
    networks: dict[str, NetworkStatus] = Field(default_factory=dict)


class Reports:
    """A worker's report is a file that only it writes; the master removes it with the worker."""

    def __init__(
        self, shared: SharedState, manager: Manager, networks: Iterable[NetworkId]
    ) -> None:
        self._shared = shared
        self._manager = manager
        self._networks = list(networks)
        self._crashes = Crashes(shared.folder)
        self._writing = threading.Lock()
        #: parts of the own report that others fill in
        self.followed: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self.cleaned: memory.CleanUp | None = None
        self.trouble: str | None = None

    def write(self) -> None:
        """Write this worker's report."""
        path = self._shared.report_path(self._shared.slot)
        with self._writing, suppress(OSError):  # a full /dev/shm must not stop anybody
            atomic.write_text(path, self._own().model_dump_json())

    def all(self) -> list[Report]:
        """Of all living workers, this one's first, as it is now."""
        reports = [self._own()]
        for slot in self._shared.workers():
            if slot != self._shared.slot:
                # One that has just begun has not written yet.
                with suppress(OSError, ValueError):
                    text = self._shared.report_path(slot).read_bytes()
                    reports.append(Report.model_validate_json(text))
        return reports

    def statuses(self) -> list[ModelStatus]:
        """All models, in the order of the table."""
        reports = self.all()
        specs = dict.fromkeys(id.spec for id in self._networks)
        return [self._merged(spec, reports) for spec in specs]

    def status(self, spec: ModelSpec) -> ModelStatus:
        """What is known of a model; never waits for a load."""
        return self._merged(spec, self.all())

    def troubles(self) -> list[str]:
        """What the workers complain of, each once."""
        said = {report.trouble for report in self.all() if report.trouble}
        said |= {crash.reason() for crash in self._crashes.repeated()}
        if master := self._shared.master_trouble():
            said.add(master)
        return sorted(said)

    def device(self) -> Device | None:
        """The device; where workers use several, all of them."""
        devices = {each.device.type: each.device for each in self.all() if each.device}
        if len(devices) < 2:
            return next(iter(devices.values()), None)
        names = ", ".join(devices[key].name for key in sorted(devices))
        return Device(next(iter(devices)).partition(":")[0], names)

    def memory(self) -> memory.MemoryFigures:
        """Device memory of all workers together, resident memory of the largest."""
        reports = self.all()
        return memory.MemoryFigures(
            round(sum(report.allocated_mb for report in reports), 1),
            round(sum(report.reserved_mb for report in reports), 1),
            max(memory.resident_mb(self._shared.pid(slot)) for slot in self._shared.workers()),
        )

    def reserved_on_own_device(self) -> float:
        """MB (2**20 bytes) that all workers together hold of the device of this one."""
        own, *others = self.all()
        return own.reserved_mb + sum(
            report.reserved_mb for report in others if report.device == own.device
        )

    def set_trouble(self, reason: str | None) -> None:
        """Say why the service is not healthy, or that it is again; a lost device stays lost."""
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
            # Downloads are the same for all: each looks itself and needs no report, which may be a
            # second old.
            networks={str(id): self._manager.network_status(id) for id in self._networks},
        )

    def _merged(self, spec: ModelSpec, reports: list[Report]) -> ModelStatus:
        """A network is loaded where some worker can answer with it; the others follow."""
        networks = {
            id.name: min(
                (each.networks[str(id)] for each in reports if str(id) in each.networks),
                key=lambda status: _STATE_PRIORITY.index(status.state),
            )
            for id in networks_of(spec)
        }
        return self._manager.describe(spec, networks)

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Records which networks crashed their workers while loading, so that new workers try less often.

The records are small files in the service's shared folder: one for each running load, named by the
worker's slot, and one for each network whose loads have crashed workers.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

# The pause before the next attempt, which is doubled after each further crash. After the first
# crash there is no pause, because the next attempt detects and replaces a damaged file.
_PAUSE_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 600.0


class Crash(BaseModel):
    """The crashes of one network."""

    #: label of the network
    key: str
    #: number of workers in a row that died while loading it
    count: int
    #: when the last one died (monotonic seconds)
    at: float

    def pause(self) -> float:
        """Seconds until the next attempt is permitted; 0 or less means now."""
        if self.count < 2:
            return 0.0
        pause = min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2.0 ** min(20, self.count - 2))
        return self.at + pause - time.monotonic()

    def reason(self) -> str:
        """Why the model is not loaded any more, as ``/health`` and error answers say it."""
        return f"{self.count} workers in a row died while they loaded {self.key}"


class Crashes:
    """Reads and writes the records; if /dev/shm is full, crashes are not recorded."""

    def __init__(self, folder: Path) -> None:
        """Use a folder that all processes of the service share."""
        self._folder = folder

    def begin(self, slot: int, key: str) -> None:
        """Record that a worker begins to load a network; ``key`` is the network's label."""
        with suppress(OSError):
            self._loading(slot, key).touch()

    def end(self, slot: int, key: str, succeeded: bool) -> None:
        """Record that the worker has survived the load, whether or not the load succeeded."""
        with suppress(OSError):
            self._loading(slot, key).unlink(missing_ok=True)
            if succeeded:
                self._path(key).unlink(missing_ok=True)

    def died(self, slot: int) -> None:
        """Record that a worker died although it was not told to end; only for the master."""
        with suppress(OSError):
            for path in self._folder.glob(f"loading-{slot}-*"):
                key = path.name.split("-", 2)[2]
                before = self.of(key)
                crash = Crash(key=key, count=before.count + 1 if before else 1, at=time.monotonic())
                self._path(key).write_text(crash.model_dump_json(), encoding="utf-8")

    def forget(self, slot: int) -> None:
        """Remove the running loads of a slot, which is free again; only for the master."""
        with suppress(OSError):
            for path in self._folder.glob(f"loading-{slot}-*"):
                path.unlink(missing_ok=True)

    def of(self, key: str) -> Crash | None:
        """The crashes of a network; None if there were none since its last successful load."""
        try:
            return Crash.model_validate_json(self._path(key).read_bytes())
        except (OSError, ValidationError):
            return None

    def repeated(self) -> list[Crash]:
        """The networks that have crashed more than one worker in a row."""
        keys = [path.name.removeprefix("crash-") for path in sorted(self._folder.glob("crash-*"))]
        found = [self.of(key) for key in keys]
        return [crash for crash in found if crash is not None and crash.count > 1]

    def _loading(self, slot: int, key: str) -> Path:
        return self._folder / f"loading-{slot}-{key}"

    def _path(self, key: str) -> Path:
        return self._folder / f"crash-{key}"

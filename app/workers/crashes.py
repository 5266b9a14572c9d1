# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Workers that died while they loaded a network, remembered for those that come after them.

Small files in the service's shared folder: one for each load under way, named by the worker's slot,
and one for each network whose loads ended with their workers.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

# Before the next try; the first follows at once, since a damaged file is found and made anew.
_PAUSE_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 600.0


class Crash(BaseModel):
    """What is known of one network."""

    #: its label
    key: str
    #: workers in a row that died
    count: int
    #: when the last one did, monotonic seconds
    at: float

    def pause(self) -> float:
        """Seconds until somebody may try again; 0 or less: now."""
        if self.count < 2:
            return 0.0
        pause = min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2.0 ** min(20, self.count - 2))
        return self.at + pause - time.monotonic()

    def reason(self) -> str:
        """For /health."""
        return f"{self.count} workers in a row died while they loaded {self.key}"


class Crashes:
    """A full /dev/shm loses what would be remembered, nothing else."""

    def __init__(self, folder: Path) -> None:
        """Use a folder that all processes of the service share."""
        self._folder = folder

    def begin(self, slot: int, key: str) -> None:
        """A worker begins to load a network, which ``key`` tells from others."""
        with suppress(OSError):
            self._loading(slot, key).touch()

    def end(self, slot: int, key: str, succeeded: bool) -> None:
        """It lives."""
        with suppress(OSError):
            self._loading(slot, key).unlink(missing_ok=True)
            if succeeded:
                self._path(key).unlink(missing_ok=True)

    def died(self, slot: int) -> None:
        """In the master: a worker has ended that nobody told to."""
        with suppress(OSError):
            for path in self._folder.glob(f"loading-{slot}-*"):
                key = path.name.split("-", 2)[2]
                before = self.of(key)
                crash = Crash(key=key, count=before.count + 1 if before else 1, at=time.monotonic())
                self._path(key).write_text(crash.model_dump_json(), encoding="utf-8")

    def forget(self, slot: int) -> None:
        """In the master: a slot is free again."""
        with suppress(OSError):
            for path in self._folder.glob(f"loading-{slot}-*"):
                path.unlink(missing_ok=True)

    def of(self, key: str) -> Crash | None:
        """What is known of a network."""
        try:
            return Crash.model_validate_json(self._path(key).read_bytes())
        except (OSError, ValidationError):
            return None

    def repeated(self) -> list[Crash]:
        """Networks whose loads ended more than one worker in a row."""
        keys = [path.name.removeprefix("crash-") for path in sorted(self._folder.glob("crash-*"))]
        found = [self.of(key) for key in keys]
        return [crash for crash in found if crash is not None and crash.count > 1]

    def _loading(self, slot: int, key: str) -> Path:
        return self._folder / f"loading-{slot}-{key}"

    def _path(self, key: str) -> Path:
        return self._folder / f"crash-{key}"

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""When frames are shown: their timestamps, repaired where they are missing or run backwards."""

from __future__ import annotations

from fractions import Fraction

# Frames that go back by less keep to their neighbours' times; beyond it the film's own clock has
# been set back (cut recordings), and what follows is moved as a whole.
SMALL = Fraction(1, 2)
#: recordings of television jump forwards, too, where they were cut
JUMP = 10
#: seconds; no film shows a frame for longer
LONGEST = 86_400
_SMALLEST_STEP = Fraction(1, 1000)


class Clock:
    """Seconds from the first frame on, which always increase, and by a day at most.

    Args:
        step: time from a frame to the next where the film does not say it.
        jumps: whether the film's clock may jump forwards without meaning it (MPEG-TS).
    """

    def __init__(self, step: Fraction, *, jumps: bool = False) -> None:
        self._step = step
        self._jumps = jumps
        #: timestamp of the film's first frame, in seconds of the film's own clock
        self.origin = Fraction(0)
        self._offset = Fraction(0)
        #: where the film's clock was set anew: its time after it, and what to add from there on;
        #: grows while the film is read
        self.jumps: list[tuple[Fraction, Fraction]] = []
        self._last: Fraction | None = None

    @property
    def last(self) -> Fraction:
        """Time of the last frame."""
        return self._last or Fraction(0)

    def set_origin(self, timestamp: Fraction | None) -> None:
        """Let the first frame of the film be shown at 0."""
        self.origin = timestamp or Fraction(0)

    def seconds(self, timestamp: Fraction | None) -> Fraction:
        """Time of the next frame.

        Args:
            timestamp: what the film says of it, in seconds of its own clock; None: nothing.
        """
        expected = Fraction(0) if self._last is None else self._last + self._step
        now = expected if timestamp is None else timestamp - self.origin + self._offset
        if self._last is None:
            now = max(now, Fraction(0))
        elif now <= self._last and self._last - now < SMALL:
            now = self._last + min(_SMALLEST_STEP, self._step)
        elif now <= self._last or now - self._last > (JUMP if self._jumps else LONGEST):
            self._offset += expected - now
            now = expected
            if timestamp is not None:
                self.jumps.append((timestamp, self._offset))
        self._last = now
        return now

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The video track of a film: its decoded frames, from the beginning or from another place on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.codec.context import ThreadType
from av.packet import Packet

from app.video import containers
from app.video.deinterlace import Timed, progressive
from app.video.picture import check_size

# Errors in a row after which the rest of the film is given up.
_MOST_ERRORS = 300


class Track:
    """The video track of an opened film.

    Args:
        file: the film; it must allow seeking and is not closed.
        max_pixels: limit of a frame's pixels.
        threads: of the decoder; 0: one for each core.
        is_keys_only: whether only key frames are decoded.
    """

    def __init__(
        self, file: BinaryIO, max_pixels: int, threads: int, *, is_keys_only: bool
    ) -> None:
        self._container = containers.open_film(file, max_pixels)
        #: FFmpeg's name of the container
        self.kind = self._container.format.name.split(",")[0]
        self.stream = containers.film_stream(self._container)
        context = self.stream.codec_context
        if context.width or context.height:  # else the first frame says it
            check_size(context.width, context.height, max_pixels)
        context.options = {"max_pixels": str(containers.decoder_pixels(max_pixels))}
        context.thread_type = ThreadType.AUTO
        context.thread_count = threads
        self._threads = threads
        self._is_keys_only = is_keys_only
        # AVI has no timestamps but the packets' places; the decoder gives frames in order.
        self._places: deque[int] | None = deque() if self.kind == "avi" else None
        #: number of packets and frames that were damaged
        self.damaged = 0
        #: time of the last packet before the first damage, None: not known
        self.damaged_at: Fraction | None = None
        #: end of the last packet of any track, in seconds of the container's clock
        self.end = Fraction(0)
        self._errors_in_a_row = 0
        #: time of the last packet of the track
        self.last: Fraction | None = None
        # Begin of the frame that is shown last, and the end of all frames, which may be stated in
        # another one of the last packets.
        self._last_shown = self._end_shown = Fraction(0)

    @property
    def container_seconds(self) -> Fraction | None:
        """Length of the container as it says, from its first timestamp."""
        duration = self._container.duration
        if not duration or duration <= 0:
            return None
        seconds = Fraction(duration, av.time_base)
        if self.kind == "matroska" and 0 < self.container_start < seconds:
            # FFmpeg writes the end of the film as its duration, also where it begins after 0.
            seconds -= self.container_start
        return seconds

    @property
    def container_start(self) -> Fraction:
        return Fraction(self._container.start_time or 0, av.time_base)

    @property
    def sound(self) -> str | None:
        """FFmpeg's name of the codec of the first sound track."""
        tracks = self._container.streams.audio
        if not tracks:
            return None
        return tracks[0].codec_context.name if tracks[0].codec_context else "unknown"

    @property
    def last_lasts(self) -> Fraction:
        """How long the frame is shown that is shown last of those read; 0: not known."""
        if self.kind == "mpegts":  # it states no lengths, and its clock may be set back
            return Fraction(0)
        return self._end_shown - self._last_shown

    @property
    def ended_damaged(self) -> bool:
        """Whether what was read last was damaged."""
        return self._errors_in_a_row > 0

    def close(self) -> None:
        """Free the decoder and the container."""
        self._container.close()

    def frames(self) -> Iterator[Timed]:
        """Whole frames from the present place on, without damaged ones; not interlaced."""
        return progressive(
            self._decoded(), are_neighbours=not self._is_keys_only, threads=self._threads
        )

    def _decoded(self) -> Iterator[Timed]:
        packets = self._container.demux()
        while self._errors_in_a_row < _MOST_ERRORS:
            try:
                packet = next(packets, None)
            except Exception as error:
                self._add_damage(error)
                break
            if packet is None:
                break
            self._note_end(packet)
            if packet.stream is not self.stream:
                continue
            # An empty packet would tell the decoder that the film ends.
            if packet.size > 0 and (packet.is_keyframe or not self._is_keys_only):
                yield from self._frames_of(packet)
        yield from self._frames_of(None)

    def seek(self, seconds: Fraction) -> bool:
        """Go to the key frame at or before a time of the film's own clock.

        Returns:
            Whether it worked; if not, the film has to be opened again.
        """
        base = self.stream.time_base
        # Some frames after the key frame may refer to what was before it, and are dropped. Where
        # nothing but their order says when frames are shown, that would shift all others.
        is_by_order = self._places is not None and self.stream.codec_context.has_b_frames
        if base is None or is_by_order:
            return False
        try:
            self._container.seek(int(seconds / base), stream=self.stream)
        except av.FFmpegError:
            return False
        self._errors_in_a_row = 0
        if self._places is not None:
            self._places.clear()
        return True

    def _note_end(self, packet: Packet[Any]) -> None:
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None and packet.time_base:
            end = (time + (packet.duration or 0)) * packet.time_base
            self.end = max(self.end, end)
            if packet.stream is self.stream:
                self.last = time * packet.time_base
                self._last_shown = max(self._last_shown, self.last)
                self._end_shown = max(self._end_shown, end)

    def _frames_of(self, packet: Packet[Any] | None) -> list[Timed]:
        """What the decoder has ready after a packet; None: after the last one."""
        if packet is not None and packet.is_corrupt:
            self._add_damage(None)
            return []
        try:
            frames = self.stream.codec_context.decode(packet)
        except Exception as error:
            self._add_damage(error)
            return []
        if self._places is not None and packet is not None and packet.dts is not None:
            self._places.append(packet.dts)
        timed = [(frame, self._timestamp(frame)) for frame in frames]
        whole = [one for one in timed if not one[0].is_corrupt]
        if len(whole) < len(frames):
            self._add_damage(None)
        elif packet is not None:
            self._errors_in_a_row = 0
        return whole

    def _timestamp(self, frame: av.VideoFrame) -> Fraction | None:
        """To be called once for each frame, in their order."""
        number = frame.pts
        if self._places is not None:
            number = self._places.popleft() if self._places else None
        base = self.stream.time_base
        return number * base if number is not None and base is not None else None

    def _add_damage(self, error: Exception | None) -> None:
        """Note that something could not be read. Raises what is not the film's fault."""
        if isinstance(error, EOFError):
            return
        if error is not None and not isinstance(error, av.FFmpegError):
            raise error
        if isinstance(error, MemoryError):
            raise containers.explained(error, "The film cannot be decoded") from error
        if not self.damaged:
            self.damaged_at = self.last
        self.damaged += 1
        self._errors_in_a_row += 1

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The sound of a film, which is copied into the new one as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, cast

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Discard, Disposition

from app.video import containers
from app.video.clock import JUMP, SMALL
from app.video.work import Output

# Codecs that players expect in MP4. It could carry some more, which hardly any player plays there.
# Uncompressed sound (ISO/IEC 23003-5) plays in browsers and in what is made with FFmpeg.
_IN_MP4 = ("aac", "ac3", "eac3", "mp3", "opus", "flac", "alac")
_PCM = ("pcm_s16", "pcm_s24", "pcm_s32", "pcm_f32", "pcm_f64")
# Decoders need a few packets before the first one that is heard. Players skip what lies before 0.
_WARM_UP = {"aac": Fraction(1, 20), "mp3": Fraction(1, 10), "opus": Fraction(2, 25)}
# Where a film is entered for a part of it: this much before the part.
_SEEK_MARGIN = Fraction(2)
# Where a film's clock was set anew, its sound and its pictures begin less than this apart, seconds.
_APART = 5
# FFmpeg writes the head of an MP4 only when it has a packet of each track. With sound that begins
# later than this, it has to write the head at once, which it cannot do for these codecs.
_LATE = Fraction(2)
_HEAD_NEEDS_PACKET = ("ac3", "eac3")
_ADTS_HEAD = 7
# By their numbers in ADTS heads (ISO/IEC 14496-3): samples a second, and layouts of channels.
_AAC_RATES = (
    96000,
    88200,
    64000,
    48000,
    44100,
    32000,
    24000,
    22050,
    16000,
    12000,
    11025,
    8000,
    7350,
)
_AAC_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")
_FORMATS: dict[Output, str] = {"mp4": "mp4", "mkv": "matroska"}

if TYPE_CHECKING:  # the class cannot be subscripted when it runs
    _Packet = Packet[AudioStream]


class Sound:
    """The packets of a film's sound track, timed from the start of the wanted part.

    Args:
        file: the film, opened a second time; it must allow seeking and is not closed.
        start: of the part, in seconds from the first frame of the film.
        seconds: length of the part; None: to the end.
        origin: time of the first frame by the film's own clock; None: what the film says.
        jumps: where that clock was set anew, as the pictures have it (``Clock.jumps``); may grow.
    """

    def __init__(
        self,
        file: BinaryIO,
        start: float = 0.0,
        seconds: float | None = None,
        origin: Fraction | None = None,
        jumps: Sequence[tuple[Fraction, Fraction]] = (),
    ) -> None:
        file.seek(0)
        self._container = containers.open_film(file)
        self._start = Fraction(start)
        self._end = None if seconds is None else Fraction(seconds)
        #: why there is no sound although the film has some; None: there is no reason
        self.problem: str | None = None
        #: the track; None: there is no sound
        self.template: AudioStream | None = _track(self._container.streams.audio)
        #: whether it begins long after the part, which may have none at all
        self.is_late = False
        self._next: _Packet | None = None
        # None: it is not known yet when the next packet is heard.
        self._packets: Iterator[_Packet | None] = iter(())
        self._jumps = jumps
        self._jumps_passed = 0
        self._has_jumps = False
        # AAC of broadcasts has a head in each packet, which files state once.
        self._adts: _Adts | None = None
        if self.template is None:
            if self._container.streams.audio:
                self.problem = "The sound is left out, because its codec is unknown"
            return
        self._codec = self.template.codec_context.codec.canonical_name
        self._has_jumps = self._container.format.name == "mpegts"
        for stream in self._container.streams:
            if stream is not self.template:
                stream.discard = Discard.all
        self._zero = (self._origin() if origin is None else origin) + self._start

    def begin(self, output: Output) -> bool:
        """Go to the first packet for a film of this kind.

        Returns:
            Whether there is sound; if not, ``problem`` may say why.
        """
        if self.template is None:
            return False
        if output == "mp4" and self._codec not in _IN_MP4 and not self._codec.startswith(_PCM):
            self.problem = (
                f"The sound is left out, because MP4 holds no {self._codec}; take "
                "output_format=mkv to keep it"
            )
            return False
        # Matroska cannot say that the beginning of a packet is to be skipped.
        warms_up = output == "mp4" or not self._start
        self._packets = self._timed(warms_up=warms_up)
        self._advance()
        if self._next is None:
            return False
        self.is_late = _time(self._next) > _LATE
        if output == "mp4" and self.is_late and self._codec in _HEAD_NEEDS_PACKET:
            self.problem = (
                f"The sound is left out, because it begins late and is {self._codec}, which cannot "
                "be streamed as MP4; take output_format=mkv to keep it"
            )
            return False
        return self._can_be_written(output)

    def add_to(self, container: OutputContainer) -> AudioStream:
        """Add the track to a film."""
        assert self.template is not None
        stream = container.add_stream_from_template(self.template)
        if self._adts is not None:
            context = stream.codec_context
            context.extradata = self._adts.config
            context.sample_rate = self._adts.rate
            context.layout = self._adts.layout
        return stream

    def _can_be_written(self, output: Output) -> bool:
        """Try it with the first packet: unusual sound must not be the end of a film."""
        assert self._next is not None
        options = {"movflags": "+empty_moov+delay_moov"} if output == "mp4" else {}
        try:
            with av.open(
                BytesIO(), "w", format=_FORMATS[output], container_options=options
            ) as container:
                self._next.stream = self.add_to(container)
                container.mux(self._next)
        except (av.FFmpegError, ValueError):
            self.problem = (
                f"The sound ({self._codec}) cannot be copied into this film, and is left out"
            )
            return False
        return True

    def until(self, seconds: Fraction) -> Iterator[_Packet]:
        """The next packets, as far as they begin before this time."""
        if self._next is None:
            self._advance()
        while self._next is not None and _time(self._next) < seconds:
            packet = self._next
            self._advance()
            yield packet

    def close(self) -> None:
        """Close the container."""
        self._container.close()

    def _advance(self) -> None:
        self._next = next(self._packets, None)

    def _origin(self) -> Fraction:
        for stream in self._container.streams.video:
            if stream.start_time is not None and stream.time_base is not None:
                return stream.start_time * stream.time_base
        return Fraction(0)

    def _timed(self, *, warms_up: bool) -> Iterator[_Packet | None]:
        """The packets of the part, with times from its start.

        None where the film's clock was set anew, until it is known when the pictures go on.

        Args:
            warms_up: whether those are wanted, too, that are not or not fully heard.
        """
        assert self.template is not None
        base = self.template.time_base
        assert base is not None
        if self._start > _SEEK_MARGIN:
            self._container.seek(int((self._zero - _SEEK_MARGIN) / base), stream=self.template)
        shift = round(self._zero / base)
        least = -round(_WARM_UP.get(self._codec, Fraction(0)) / base)
        last: int | None = None
        following: int | None = None
        before: int | None = None
        for packet in self._container.demux(self.template):
            if packet.size == 0:
                continue
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None:
                if before is not None and self._is_jump((time - before) * base):
                    while (offset := self._offset(time * base)) is None:
                        yield None
                    shift = round((self._zero - offset) / base)
                before = time
            time = following if time is None else time - shift
            if time is None:
                continue
            following = time + (packet.duration or 0)
            if last is not None and time <= last:
                continue  # it has been there already
            if following <= least if warms_up else time < 0:
                continue
            if self._end is not None and time * base >= self._end:
                return
            packet.pts = packet.dts = last = time
            yield self._without_head(packet)

    def _is_jump(self, step: Fraction) -> bool:
        """Whether the film's clock was set anew between two packets."""
        return self._has_jumps and not -SMALL < step <= JUMP

    def _offset(self, time: Fraction) -> Fraction | None:
        """What the pictures add to the film's clock since it was set to about this time."""
        for number in range(self._jumps_passed, len(self._jumps)):
            start, offset = self._jumps[number]
            if abs(start - time) < _APART:
                self._jumps_passed = number + 1
                return offset
        return None

    def _without_head(self, packet: _Packet) -> _Packet:
        """The packet without the ADTS head that AAC of broadcasts has."""
        assert self.template is not None
        if self._codec != "aac" or self.template.codec_context.extradata:
            return packet
        data = bytes(packet)
        adts = _Adts.of(data)
        if adts is None:
            return packet
        self._adts = adts
        bare = cast("_Packet", Packet(data[adts.length :]))
        bare.time_base, bare.duration = packet.time_base, packet.duration
        bare.pts, bare.dts, bare.is_keyframe = packet.pts, packet.dts, True
        return bare


@dataclass(frozen=True)
class _Adts:
    """The head of a packet of AAC in broadcasts (ISO/IEC 13818-7)."""

    length: int
    #: the same in the form that files state it in (AudioSpecificConfig of ISO/IEC 14496-3)
    config: bytes
    rate: int
    layout: str

    @classmethod
    def of(cls, data: bytes) -> _Adts | None:
        """The head at the beginning of the data; None: there is none."""
        if len(data) < _ADTS_HEAD or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
            return None
        kind, rate = (data[2] >> 6) + 1, data[2] >> 2 & 15
        channels = (data[2] & 1) << 2 | data[3] >> 6
        if rate >= len(_AAC_RATES) or channels == 0:
            return None
        length = _ADTS_HEAD if data[1] & 1 else _ADTS_HEAD + 2  # a checksum follows
        config = (kind << 11 | rate << 7 | channels << 3).to_bytes(2, "big")
        return cls(length, config, _AAC_RATES[rate], _AAC_LAYOUTS[channels - 1])


def _track(tracks: tuple[AudioStream, ...]) -> AudioStream | None:
    """The track that players play, if FFmpeg knows its codec."""
    known = [track for track in tracks if track.codec_context is not None]
    return next((one for one in known if one.disposition & Disposition.default), None) or (
        known[0] if known else None
    )


def _time(packet: _Packet) -> Fraction:
    assert packet.pts is not None
    return packet.pts * packet.time_base

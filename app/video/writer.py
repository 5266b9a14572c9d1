# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes a film to a pipe, so that it plays while it grows."""

from __future__ import annotations

from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, cast

import av
import av.container
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from app.errors import BadRequest
from app.video import encoders, marks
from app.video.film import Size
from app.video.head import Head, head
from app.video.pipe import Whole
from app.video.sound import Sound
from app.video.work import Codec, FilmWork

Image = NDArray[np.uint8] | NDArray[np.uint16]

_FORMATS = {"mp4": "mp4", "mkv": "matroska"}
_MP4_FLAGS = "+frag_keyframe+empty_moov+default_base_moof"
# The muxer waits so many microseconds at most for a track that has nothing to say.
_PATIENCE = "1000000"
# Ticks a second that times are counted in, at least.
_LEAST_TICKS = 90_000
_MOST_TICKS = 2_000_000
# Frames from one key frame to the next: a second, but not fewer than these.
_LEAST_GROUP = 12
# Of levels in limited range, see ITU-R BT.709.
_GREY = np.round(16 + np.arange(256) * (219 / 255)).astype(np.uint8)
_NO_COLOUR = 128
# Codes of the matrix, curve and primaries of BT.709 (ITU-T H.273) and of the matrix of RGB.
_BT709, _IDENTITY = 1, 0


class FilmWriter:
    """A film that is written frame by frame.

    Pictures of odd width or height get their last column or row twice, because most codecs store
    colours at half the size.

    Args:
        out: where the film goes; it needs no seeking, and is not closed.
        work: what the film is: container, codec, layout of pairs, and the start of the part.
        size: width and height of the pictures.
        frame_rate: frames a second, on average.
        sound: is copied into the film; None: there is none.
        seconds: about how long the film will be, for players that show it while it grows; None: not
            known.
        threads: of the encoder; 0: as many as it likes.

    Raises:
        BadRequest: there is no encoder for the codec, or the container does not hold it.
    """

    def __init__(
        self,
        out: BinaryIO,
        work: FilmWork,
        size: Size,
        frame_rate: Fraction,
        sound: Sound | None = None,
        *,
        seconds: float | None = None,
        threads: int = 0,
    ) -> None:
        self._work = work
        self._codec: Codec = work.codec or "h264"
        if self._codec == "ffv1" and work.output != "mkv":
            raise BadRequest("MP4 holds no FFV1; take output_format=mkv")
        self._size = size[0] + size[0] % 2, size[1] + size[1] % 2
        if self._codec == "ffv1":
            self._size = size
        self._encoder = encoders.choose(self._codec, self._size)
        self._rate = frame_rate
        self._length = None if seconds is None else Fraction(seconds)
        self._threads = threads
        self._views = marks.packing(work)
        self._message = marks.message(self._codec, self._views) if self._views else b""
        self._sound = sound if sound is not None and sound.begin(work.output) else None
        #: what is missing of the film; None: nothing
        self.problem = sound.problem if sound is not None else None
        self._start = Fraction(work.start)
        self._last = -1
        self._out = _Out(out, head(work.output, self._views, self._length))
        self._container: av.container.OutputContainer | None = None
        self._video: VideoStream | None = None
        self._audio: AudioStream | None = None

    @property
    def size(self) -> Size:
        """Width and height of the written picture."""
        return self._size

    def write(self, image: Image, seconds: Fraction) -> None:
        """Append a picture.

        Args:
            image: [height, width, 3] uint8 RGB, or [height, width] uint8 grey, or, for FFV1,
                [height, width] uint16 grey.
            seconds: when it is shown, from the first frame of the whole film on.
        """
        if self._video is None:
            self._open(image)
        assert self._video is not None
        frame = self._frame(image)
        base = self._video.codec_context.time_base
        frame.time_base = base
        time = max(Fraction(0), seconds - self._start)
        frame.pts = self._last = max(round(time / base), self._last + 1)
        self._write_sound(time)
        self._mux(self._video.encode(frame))

    def close(self, lasts: Fraction | None = None) -> None:
        """Write what is still to come: the last frames, the sound to their end, the index.

        Args:
            lasts: how long the last picture is shown; None: as long as pictures are on average.
        """
        if self._video is None or self._container is None:
            return
        lasts = lasts or 1 / self._rate
        packets = self._video.encode(None)
        for packet in packets[-1:] + [one for one in packets if one.pts == self._last]:
            packet.duration = max(1, round(lasts / packet.time_base))
        self._mux(packets)
        self._write_sound(self._last * self._video.codec_context.time_base + lasts)
        self._container.close()

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif self._container is not None:
            self._out.close()  # else the film would be ended as if it were whole
            self._container.close()

    # -- the container ---------------------------------------------------------------------------

    def _open(self, image: Image) -> None:
        options = {"max_interleave_delta": _PATIENCE}
        if self._work.output == "mkv":
            # ``head`` changes the beginning of the file after FFmpeg has written it, so that a
            # checksum of FFmpeg's would be wrong.
            options["write_crc32"] = "0"
        if self._work.output == "mp4":
            options["movflags"] = _MP4_FLAGS
            if self._sound is None or not self._sound.is_late:
                # The head waits for the first packets, which say how much of the sound's beginning
                # is to be skipped.
                options["movflags"] += "+delay_moov"
        format = _FORMATS[self._work.output]
        self._container = av.open(self._out, "w", format=format, container_options=options)
        self._video = self._video_stream(self._container, image)
        encoders.open_encoder(self._video.codec_context)
        if self._sound is not None:
            self._audio = self._sound.add_to(self._container)

    def _video_stream(self, container: av.container.OutputContainer, image: Image) -> VideoStream:
        stream = cast(VideoStream, container.add_stream(self._encoder, rate=self._rate))
        context = stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = self._pixels(image)
        context.time_base = Fraction(1, _ticks(self._rate))
        context.gop_size = max(_LEAST_GROUP, round(self._rate))
        context.color_primaries, context.color_trc = _BT709, _BT709
        context.colorspace = _IDENTITY if context.pix_fmt == "bgr0" else _BT709
        is_full = self._codec == "ffv1"
        context.color_range = ColorRange.JPEG if is_full else ColorRange.MPEG
        context.options = encoders.options(self._encoder, is_map=self._work.stereo == "none")
        if self._threads:
            context.thread_count = self._threads
        if self._codec == "hevc" and self._work.output == "mp4":
            context.codec_tag = "hvc1"  # Apple's players want this one
        if self._work.output == "mkv" and self._length is not None:
            minutes, rest = divmod(float(self._length), 60)
            hours, minutes = divmod(int(minutes), 60)
            stream.metadata["DURATION"] = f"{hours:02d}:{minutes:02d}:{rest:012.9f}"
        mode = marks.stereo_mode(self._work)
        if self._work.output == "mkv" and mode is not None:
            stream.metadata["stereo_mode"] = mode
        return stream

    def _pixels(self, image: Image) -> str:
        """FFmpeg's name of the kind of pixels that the encoder gets."""
        if self._codec == "ffv1":
            if image.ndim == 3:
                return "bgr0"
            return "gray16le" if image.dtype == np.uint16 else "gray"
        return "nv12" if self._encoder.endswith("_qsv") else "yuv420p"

    # -- frames and packets ----------------------------------------------------------------------

    def _frame(self, image: Image) -> av.VideoFrame:
        width, height = self._size
        rows, columns = height - image.shape[0], width - image.shape[1]
        if (rows, columns) != (0, 0):
            edges = ((0, rows), (0, columns), (0, 0))[: image.ndim]
            image = cast(Image, np.pad(image, edges, mode="edge"))
        image = cast(Image, np.ascontiguousarray(image))
        if image.ndim == 3:
            return self._colours(cast(NDArray[np.uint8], image))
        if self._codec == "ffv1":
            name = "gray16le" if image.dtype == np.uint16 else "gray"
            return av.VideoFrame.from_ndarray(image, format=name)
        planes = np.full((height * 3 // 2, width), _NO_COLOUR, np.uint8)
        cv2.LUT(image, _GREY, planes[:height])
        return _tagged(av.VideoFrame.from_ndarray(planes, format="yuv420p"))

    def _colours(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        frame = av.VideoFrame.from_numpy_buffer(image, format="rgb24")
        if self._codec == "ffv1":
            return frame.reformat(format="bgr0")
        return _tagged(
            frame.reformat(
                format="yuv420p",
                src_colorspace=Colorspace.ITU709,
                dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
            )
        )

    def _write_sound(self, until: Fraction) -> None:
        if self._sound is None or self._audio is None or self._container is None:
            return
        for packet in self._sound.until(until):
            packet.stream = self._audio
            self._container.mux(packet)

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        assert self._container is not None
        assert self._video is not None
        for packet in packets:
            if not packet.duration:
                packet.duration = round(1 / self._rate / packet.time_base)
            self._container.mux(marks.marked(packet, self._codec, self._message))


def _ticks(rate: Fraction) -> int:
    """Ticks a second, such that frames at this rate take a whole number of them."""
    ticks = rate.numerator * -(-_LEAST_TICKS // rate.numerator)
    return ticks if ticks <= _MOST_TICKS else _LEAST_TICKS


def _tagged(frame: av.VideoFrame) -> av.VideoFrame:
    frame.color_range, frame.colorspace = ColorRange.MPEG, _BT709
    frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return frame


class _Out(Whole):
    """Changes the head of a film on its way to the pipe.

    Args:
        out: the pipe.
        head: what to change in the head; None: nothing.
    """

    def __init__(self, out: BinaryIO, head: Head | None) -> None:
        super().__init__(out)
        self._head = head
        self._held = bytearray()

    def write(self, data: Any) -> int:
        if self._head is None:
            return super().write(data)
        self._held += data
        held = bytes(self._held)
        length = self._head.length(held)
        if length is not None:
            changed = self._head.changed(held[:length])
            self._head = None
            self._held.clear()
            super().write(changed + held[length:])
        return len(data)

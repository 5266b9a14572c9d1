# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Opens a client's film: only the containers and codecs below, and nothing but the given bytes.

FFmpeg knows many more formats, and some of them (playlists, DASH, concat, references of QuickTime)
make it open further files and addresses. So the container is recognised here, FFmpeg gets that
one demuxer only, and whatever it wants to open beside the given bytes fails.
"""

from __future__ import annotations

import errno
import io
from typing import Any, BinaryIO, NoReturn

import av
import av.container
import av.error
import av.stream
import av.video.stream

from app.errors import BadRequest, TooLarge, TwinlensError

ACCEPTED = (
    "Accepted are MP4, MOV, MKV, WebM, AVI and MPEG-TS, with the codecs H.264, HEVC, VP8, VP9, "
    "AV1, MPEG-4, MJPEG and ProRes"
)
#: names of FFmpeg's decoders that may decode a film
DECODERS = ("h264", "hevc", "vp8", "vp9", "libdav1d", "mpeg4", "mjpeg", "prores")
#: tracks of a film, sound and subtitles included
MOST_STREAMS = 32
#: bytes that FFmpeg reads at most to find out what is in the file
_PROBE_BYTES = 20_000_000
#: and this many microseconds of the film
_PROBE_TIME = 5_000_000
_HEAD_BYTES = 4096

_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof", b"styp")
_PICTURE_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"heim", b"avif", b"avis")
# What people send by mistake, by its first bytes.
_OTHERS = (
    (b"#EXTM3U", "an M3U playlist (HLS)"),
    (b"ffconcat", "a list of files for FFmpeg (concat)"),
    (b"[playlist]", "a PLS playlist"),
    (b"[Script Info]", "subtitles (ASS)"),
    (b"WEBVTT", "subtitles (WebVTT)"),
    (b"<MPD", "a DASH manifest"),
    (b"<smil", "a SMIL playlist"),
    (b"<?xml", "an XML file, such as a DASH manifest"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMV or ASF film"),
    (b"OggS", "an Ogg file"),
    (b"FLV", "a Flash film"),
    (b"\x00\x00\x01\xba", "an MPEG program stream, such as a VOB file"),
    (b"\x00\x00\x01\xb3", "an MPEG-1 or MPEG-2 film without a container"),
    (b"\x00\x00\x00\x01", "an H.264 or HEVC film without a container"),
    (b"\x06\x0e\x2b\x34", "an MXF film"),
    (b".RMF", "a RealMedia film"),
    (b"DKIF", "an IVF film"),
    (b"YUV4MPEG2", "uncompressed video (Y4M)"),
    (b"ID3", "an MP3 file"),
    (b"fLaC", "a FLAC file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"GIF8", "a picture (GIF)"),
)


def open_film(file: BinaryIO, max_pixels: int | None = None) -> av.container.InputContainer:
    """The opened container of a film.

    Args:
        file: the film; it must allow seeking and is not closed.
        max_pixels: decoders that FFmpeg uses to look into the film refuse frames far beyond this.

    Raises:
        BadRequest: it is none of the accepted containers, or broken.
        TooLarge: it has too many tracks or needs too much memory.
    """
    kind = container_of(file)
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": kind,
        "codec_whitelist": ",".join(DECODERS),
        "max_streams": str(MOST_STREAMS + 1),
        "probesize": str(_PROBE_BYTES),
        "analyzeduration": str(_PROBE_TIME),
    }
    if kind == "mov":
        options |= {"enable_drefs": "0", "use_absolute_path": "0", "ignore_chapters": "1"}
    if max_pixels is not None:
        options["max_pixels"] = str(decoder_pixels(max_pixels))
    file.seek(0)
    try:
        container = av.open(
            _OnlyBytes(file),
            "r",
            format=kind,
            options=options,
            metadata_errors="replace",
            io_open=_refuse_to_open,
        )
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise explained(error, f"The {NAMES[kind]} file cannot be read") from error
    if len(container.streams) > MOST_STREAMS:
        container.close()
        raise TooLarge(f"The film has more than {MOST_STREAMS} tracks; leave most of them out")
    return container


def film_stream(container: av.container.InputContainer) -> av.video.stream.VideoStream:
    """The video track that players show: the default one, else the first; never cover art.

    Raises:
        BadRequest: there is none, or its codec is not accepted.
    """
    flags = av.stream.Disposition
    not_film = flags.attached_pic | flags.timed_thumbnails | flags.still_image
    tracks = [stream for stream in container.streams.video if not stream.disposition & not_film]
    if not tracks:
        what = "only a cover picture" if container.streams.video else "no video"
        raise BadRequest(f"The file has {what}, so there is no film to read. {ACCEPTED}")
    stream = next((one for one in tracks if one.disposition & flags.default), tracks[0])
    # A track whose codec FFmpeg does not know has no codec context.
    codec = stream.codec_context.name if stream.codec_context else "unknown"
    if codec not in DECODERS:
        raise BadRequest(f"The film's codec is {codec}, which is not accepted. {ACCEPTED}")
    return stream


def codec_of(stream: av.video.stream.VideoStream) -> str:
    """FFmpeg's name of the codec, not of the decoder."""
    name = stream.codec_context.name
    return "av1" if name == "libdav1d" else name


def decoder_pixels(max_pixels: int) -> int:
    """The limit for decoders, which count the padding of frames, too."""
    return 2 * max_pixels + 2**20


#: FFmpeg's name of the demuxer -> what people call such files
NAMES = {"mov": "MP4 or MOV", "matroska": "MKV or WebM", "avi": "AVI", "mpegts": "MPEG-TS"}


def container_of(file: BinaryIO) -> str:
    """FFmpeg's name of the demuxer: "mov", "matroska", "avi" or "mpegts".

    Raises:
        BadRequest: the first bytes are those of something else; the message says of what.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if not head:
        raise BadRequest("The film is empty")
    if head[4:8] in _MP4_BOXES:
        if head[4:8] == b"ftyp" and head[8:12] in _PICTURE_BRANDS:
            _refuse("a picture (HEIC or AVIF)")
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _matroska(head)
    if head.startswith(b"RIFF"):
        if head[8:12] == b"AVI ":
            return "avi"
        _refuse({b"WAVE": "a WAV file", b"WEBP": "a picture (WebP)"}.get(head[8:12], "a RIFF file"))
    if _is_mpegts(head):
        return "mpegts"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, name in _OTHERS:
        if head.startswith(start) or text.startswith(start):
            _refuse(name)
    if b"-->" in text:
        _refuse("subtitles (SRT)")
    return _refuse("of an unknown kind")


def _refuse(what: str) -> NoReturn:
    hint = " Pictures have routes and a command of their own." if "picture" in what else ""
    raise BadRequest(f"The file is {what}, not a film that can be read. {ACCEPTED}.{hint}")


def _matroska(head: bytes) -> str:
    """Check the DocType, which an EBML file names in its head."""
    at = head.find(b"\x42\x82")
    document = head[at + 3 : at + 3 + (head[at + 2] & 0x7F)] if 0 <= at < len(head) - 3 else b""
    if document.rstrip(b"\0") not in (b"matroska", b"webm"):
        _refuse("an EBML file that is neither Matroska nor WebM")
    return "matroska"


def _is_mpegts(head: bytes) -> bool:
    """Whether a sync byte stands in front of every packet: 188 bytes, or 192 with a time in front,
    or 204 with error correction behind.
    """
    for length, offset in ((188, 0), (192, 4), (204, 0)):
        if head[offset::length][:3] == b"\x47\x47\x47":
            return True
    return False


class _OnlyBytes(io.RawIOBase):
    """The film's bytes, without the file's name, so that FFmpeg has no folder to look into.

    Broken films make FFmpeg seek to impossible places; it is told so in its own way.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        return self._file.read(count)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (ValueError, OverflowError):  # before the beginning, or absurdly far
            return -errno.EINVAL
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOVERFLOW):
                raise
            return -errno.EINVAL

    def tell(self) -> int:
        return self._file.tell()


def _refuse_to_open(*_: Any) -> BinaryIO:
    """FFmpeg calls this for whatever it wants to open beside the given bytes."""
    raise BadRequest("The film refers to another file or address; send a film that has all in it")


def explained(error: Exception, what: str) -> TwinlensError:
    """The client's error for one that FFmpeg or PyAV raised on its film."""
    if isinstance(error, TwinlensError):
        return error
    if isinstance(error, MemoryError):
        return TooLarge(
            f"{what}: it has more than {MOST_STREAMS} tracks, or needs more memory than a film gets"
        )
    reason = error.strerror if isinstance(error, av.error.FFmpegError) else None
    reason = f" ({reason})" if reason else ""
    return BadRequest(f"{what}{reason}: it is damaged or incomplete. {ACCEPTED}")

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads JSON bodies in pieces, so that a large or hostile body costs little memory and CPU time.

An image in a body is one long string. Long strings are detached while the body is read: they are
decoded piece by piece, and a short placeholder replaces them. The remaining JSON is at most 1 MiB
and is parsed by a normal parser.
"""

from __future__ import annotations

import codecs
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from app.errors import TooLarge, WrongShape
from app.server.inline_images import InlineImage, decode_image

#: Largest size of the JSON in bytes, without the detached strings.
MAX_BYTES = 2**20
#: Largest number of values, keys and containers. Each costs memory, however short it is.
MAX_VALUES = 100_000
MAX_DEPTH = 128
#: A longer string is detached. Strings of options are shorter.
MAX_STRING_BYTES = 1024
# A longer string can only be an image, so it is decoded as one while it arrives. Texts are shorter:
# they have at most 4096 characters, and each takes at most 12 bytes (two escapes).
_MAX_TEXT_BYTES = 2**16
_PIECE = 2**17

# The content of a string up to its closing quote, or up to an incomplete or invalid escape.
_CONTENT = re.compile(rb'[^"\\]*+(?:\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])[^"\\]*+)*+')
_ESCAPE_BYTES = 6
# A surrogate, as an escape or encoded. It may be one half of a valid pair, or lone (invalid).
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_BLANKS = re.compile(rb"[ \t\r\n]{2,}")
_NOT_UTF8 = "The body is not UTF-8; JSON must be sent as UTF-8"


class DetachedString:
    """A string of a JSON body that is long, or contains a lone surrogate.

    Args:
        max_image_bytes: largest image, see ``InlineImage``.
    """

    def __init__(self, max_image_bytes: int) -> None:
        self._max_image_bytes = max_image_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        # The bytes of the JSON, because a Python string may need four times as much memory.
        self._raw = bytearray()
        #: of a string above _MAX_TEXT_BYTES: its beginning, and the decoder of the whole string
        self._beginning = ""
        self._image: InlineImage | None = None
        #: number of characters
        self.length = 0

    def feed(self, raw: bytes) -> None:
        """Add the next piece, as bytes of the JSON. It must not end within an escape.

        Raises:
            WrongShape: the piece is not UTF-8, or not valid in a JSON string.
        """
        if self._image is not None:
            self._continue(raw)
            return
        self._raw += raw
        if len(self._raw) > _MAX_TEXT_BYTES:
            self._image = InlineImage(self._max_image_bytes)
            self._continue(bytes(self._raw))
            self._raw.clear()

    def finish(self) -> None:
        """End the string. Raises WrongShape if it is not UTF-8 or not valid JSON."""
        if self._image is not None:
            self._continue(b"", final=True)
        else:
            self.length = len(self._unescape(self._decode(bytes(self._raw), final=True)))

    @property
    def text(self) -> str:
        """The text, which may contain lone surrogates; only the beginning of a very long one."""
        if self._image is not None:
            return self._beginning
        return self._unescape(self._raw.decode("utf-8", "surrogatepass"))

    def image(self) -> BinaryIO:
        """The string decoded as an image. Call this only once.

        Raises BadRequest and TooLarge, see ``InlineImage.finish``.
        """
        if self._image is not None:
            return self._image.finish()
        return decode_image(self.text, self._max_image_bytes)

    def _continue(self, raw: bytes, *, final: bool = False) -> None:
        assert self._image is not None
        text = self._unescape(self._decode(raw, final=final))
        self._beginning = self._beginning or text[:MAX_STRING_BYTES]
        self.length += len(text)
        self._image.feed(text)

    def _decode(self, raw: bytes, *, final: bool) -> str:
        try:
            return self._decoder.decode(raw, final)
        except UnicodeDecodeError:
            raise WrongShape(_NOT_UTF8) from None

    @staticmethod
    def _unescape(text: str) -> str:
        try:
            return str(json.loads(f'"{text}"'))
        except ValueError:
            raise WrongShape("body: Invalid JSON: control character in a string") from None


@dataclass(frozen=True)
class JsonBody:
    """A JSON body whose long strings were replaced by placeholders."""

    #: the JSON, at most MAX_BYTES long
    text: bytes
    #: the detached string of each placeholder
    strings: Mapping[str, DetachedString]
    #: whether ``text`` equals the body, so that positions in error messages are right
    is_unchanged: bool


class _Reader:
    """Scans a body: detaches strings, and counts bytes, values and nesting of everything else."""

    def __init__(self, max_image_bytes: int) -> None:
        self._max_image_bytes = max_image_bytes
        self._out = bytearray()
        self._rest = b""
        #: the beginning of the current string; None outside of strings
        self._string: bytearray | None = None
        self._detached: DetachedString | None = None
        self._values = 0
        self._depth = 0
        self._begun = False
        self._left_out_blanks = False
        # The prefix is random, so that no string of the body can be mistaken for a placeholder.
        self._prefix = secrets.token_hex(16)
        self.strings: dict[str, DetachedString] = {}

    def feed(self, data: bytes) -> None:
        """Scan the next piece of the body. Raises WrongShape and TooLarge, see ``read_json``."""
        data = self._rest + data
        if not self._begun:
            if len(data) < 4:
                self._rest = data
                return
            data = self._begin(data)
        position = 0
        while position < len(data):
            if self._string is None:
                end = data.find(b'"', position)
                self._structure(data[position : end if end >= 0 else len(data)])
                if end < 0:
                    position = len(data)
                else:
                    self._string = bytearray()
                    position = end + 1
                continue
            end = _content_end(data, position)
            self._content(data[position:end])
            position = end
            if data[end : end + 1] == b'"':
                self._end_string()
                position += 1
            elif end < len(data):  # a backslash
                break
        self._rest = data[position:]
        if len(self._rest) >= _ESCAPE_BYTES:
            raise WrongShape("body: Invalid JSON: invalid escape in a string")

    def finish(self) -> JsonBody:
        """End the body and return it. Raises WrongShape and TooLarge, see ``read_json``."""
        if not self._begun:
            short, self._rest = self._begin(self._rest), b""
            self.feed(short)
        if self._string is not None:
            raise WrongShape("body: Invalid JSON: it ends within a string")
        text = bytes(self._out)
        try:
            text.decode()
        except UnicodeDecodeError:
            raise WrongShape(_NOT_UTF8) from None
        return JsonBody(text, self.strings, not self.strings and not self._left_out_blanks)

    def _begin(self, data: bytes) -> bytes:
        """Check the first bytes of the body, and return them without a byte order mark."""
        self._begun = True
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        if utf16 or b"\0" in data[:4]:
            raise WrongShape("The body is UTF-16 or UTF-32; JSON must be sent as UTF-8")
        return data.removeprefix(codecs.BOM_UTF8)

    def _structure(self, text: bytes) -> None:
        """Count and keep the text between two strings: punctuation, numbers and blanks."""
        if len(text) > 16:
            before, text = text, _BLANKS.sub(b" ", text)
            self._left_out_blanks = self._left_out_blanks or len(text) < len(before)
        opened = text.count(b"[") + text.count(b"{")
        self._depth += opened - text.count(b"]") - text.count(b"}")
        self._values += opened + text.count(b",")
        if self._depth > MAX_DEPTH:
            raise WrongShape(f"body: Invalid JSON: nested more than {MAX_DEPTH} levels deep")
        self._put(text)

    def _content(self, raw: bytes) -> None:
        assert self._string is not None
        if self._detached is not None:
            self._detached.feed(raw)
            return
        self._string += raw
        if len(self._string) > MAX_STRING_BYTES:
            self._detach()

    def _detach(self) -> None:
        assert self._string is not None
        self._detached = DetachedString(self._max_image_bytes)
        self._detached.feed(bytes(self._string))

    def _end_string(self) -> None:
        assert self._string is not None
        self._values += 1
        if self._detached is None and _SURROGATE.search(self._string) and _is_lone(self._string):
            self._detach()
        if self._detached is None:
            self._put(b'"' + self._string + b'"')
        else:
            self._detached.finish()
            placeholder = f"{self._prefix}{len(self.strings)}"
            self.strings[placeholder] = self._detached
            self._put(f'"{placeholder}"'.encode())
        self._string = self._detached = None

    def _put(self, text: bytes) -> None:
        self._out += text
        if self._values > MAX_VALUES:
            raise TooLarge(f"The JSON has more than {MAX_VALUES} values", code="body_too_large")
        if len(self._out) > MAX_BYTES:
            raise TooLarge(
                f"The JSON has more than {MAX_BYTES} bytes, "
                f"strings of more than {MAX_STRING_BYTES} bytes not counted",
                code="body_too_large",
            )


def read_json(read: Callable[[int], bytes], max_image_bytes: int) -> JsonBody:
    """Read a body to its end, or until an error is found.

    Args:
        read: returns up to the given number of bytes of the body; no bytes at its end.
        max_image_bytes: largest image. Of a larger one only the size is determined.

    Raises:
        WrongShape: the body is not UTF-8, or one of a few checks shows that it is not JSON. The
            caller's parser finds other mistakes.
        TooLarge: there are more than MAX_VALUES values, or MAX_BYTES bytes without long strings.
    """
    reader = _Reader(max_image_bytes)
    while data := read(_PIECE):
        reader.feed(data)
    return reader.finish()


def is_unicode(text: str) -> bool:
    """Whether a text is valid Unicode: it contains no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _content_end(data: bytes, begin: int) -> int:
    """The index in ``data`` at which the content of a string ends.

    It ends at a quote, before an incomplete escape, or at the end of the data.
    """
    quote = data.find(b'"', begin)
    end = quote if quote >= 0 else len(data)
    if data.find(b"\\", begin, end) < 0:
        return end  # the usual case, much faster than the pattern
    match = _CONTENT.match(data, begin)
    assert match is not None  # the pattern also matches an empty content
    return match.end()


def _is_lone(raw: bytearray) -> bool:
    """Whether a string contains a lone surrogate and is otherwise valid."""
    try:
        return not is_unicode(json.loads(f'"{raw.decode("utf-8", "surrogatepass")}"'))
    except ValueError:
        return False  # the caller's parser reports the mistake

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""JSON bodies, read in pieces so that a large or hostile one costs little memory and no pause.

An image in a body is one long string. Long strings are detached while the body is read: they are
decoded piece by piece, and a short placeholder takes their place. What is left is small, bounded,
and can be parsed as usual.
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

#: Bytes of JSON beside the detached strings.
MAX_BYTES = 2**20
#: Values, keys and containers; each costs memory of its own, however short it is.
MAX_VALUES = 100_000
MAX_DEPTH = 128
#: A longer string is detached; no option of a request is as long.
MAX_STRING_BYTES = 1024
# A longer one is decoded as an image at once and not kept as text. The longest text that is
# embedded has 4096 characters and fits, even if each is written as two escapes.
_MAX_TEXT_BYTES = 2**16
_PIECE = 2**17

# A string up to its closing quote. An escape that is not complete yet does not match.
_CONTENT = re.compile(rb'[^"\\]*+(?:\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])[^"\\]*+)*+')
_ESCAPE_BYTES = 6
# Half of a surrogate pair, escaped or encoded; whether the other half is there has to be looked at.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_BLANKS = re.compile(rb"[ \t\r\n]{2,}")
_NOT_UTF8 = "The body is not UTF-8; JSON must be sent as UTF-8"


class DetachedString:
    """A string of a JSON body that is long, or that has a lone surrogate in it.

    Args:
        max_image_bytes: see ``InlineImage``.
    """

    def __init__(self, max_image_bytes: int) -> None:
        self._max_image_bytes = max_image_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        # As it stands in the JSON, since a Python string may need four times as much memory.
        self._raw = bytearray()
        #: of a very long one: its beginning, and the decoder that the rest goes to
        self._beginning = ""
        self._image: InlineImage | None = None
        #: characters
        self.length = 0

    def feed(self, raw: bytes) -> None:
        """The next piece, as it stands in the JSON; no escape is cut in two.

        Raises:
            WrongShape: it is not UTF-8, or not JSON.
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
        """The string is complete. Raises WrongShape."""
        if self._image is not None:
            self._continue(b"", final=True)
        else:
            self.length = len(self._unescape(self._decode(bytes(self._raw), final=True)))

    @property
    def text(self) -> str:
        """The text, or the beginning of a very long one; it may contain lone surrogates."""
        if self._image is not None:
            return self._beginning
        return self._unescape(self._raw.decode("utf-8", "surrogatepass"))

    def image(self) -> BinaryIO:
        """The image that it is; once. Raises BadRequest and TooLarge, see ``InlineImage``."""
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
    """A body that was read."""

    #: JSON of at most MAX_BYTES
    text: bytes
    #: what its placeholders stand for
    strings: Mapping[str, DetachedString]
    #: whether nothing was left out, so that places in it are places in the body
    is_unchanged: bool


class _Reader:
    """Walks through a body; it knows strings, and counts everything else."""

    def __init__(self, max_image_bytes: int) -> None:
        self._max_image_bytes = max_image_bytes
        self._out = bytearray()
        self._rest = b""
        #: of the string that is being read; None outside of strings
        self._string: bytearray | None = None
        self._detached: DetachedString | None = None
        self._values = 0
        self._depth = 0
        self._begun = False
        self._left_out_blanks = False
        # Nobody can guess it, so no string of the body can be mistaken for a placeholder.
        self._prefix = secrets.token_hex(16)
        self.strings: dict[str, DetachedString] = {}

    def feed(self, data: bytes) -> None:
        """The next piece of the body. Raises WrongShape and TooLarge."""
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
        """The body is complete. Raises WrongShape and TooLarge."""
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
        """Without a byte order mark."""
        self._begun = True
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        if utf16 or b"\0" in data[:4]:
            raise WrongShape("The body is UTF-16 or UTF-32; JSON must be sent as UTF-8")
        return data.removeprefix(codecs.BOM_UTF8)

    def _structure(self, text: bytes) -> None:
        """What stands between two strings."""
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
            raise TooLarge(f"The JSON has more than {MAX_VALUES} values")
        if len(self._out) > MAX_BYTES:
            raise TooLarge(
                f"The JSON has more than {MAX_BYTES} bytes, "
                f"strings of more than {MAX_STRING_BYTES} bytes not counted"
            )


def read_json(read: Callable[[int], bytes], max_image_bytes: int) -> JsonBody:
    """Read a body to its end, or to where it is refused.

    Args:
        read: gives up to so many bytes of it; nothing at its end.
        max_image_bytes: of a larger image only the size is kept.

    Raises:
        WrongShape: it is certainly not JSON in UTF-8; the parser looks at the rest.
        TooLarge: more bytes beside long strings, or more values, than any request needs.
    """
    reader = _Reader(max_image_bytes)
    while data := read(_PIECE):
        reader.feed(data)
    return reader.finish()


def is_unicode(text: str) -> bool:
    """Whether there is no lone surrogate in a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _content_end(data: bytes, begin: int) -> int:
    """Where a string ends: at a quote, before an escape that is not complete, or with the data."""
    quote = data.find(b'"', begin)
    end = quote if quote >= 0 else len(data)
    if data.find(b"\\", begin, end) < 0:
        return end  # much faster than the pattern
    match = _CONTENT.match(data, begin)
    assert match is not None  # it matches nothing at all, too
    return match.end()


def _is_lone(raw: bytearray) -> bool:
    """Whether a string has a lone surrogate in it, and nothing worse."""
    try:
        return not is_unicode(json.loads(f'"{raw.decode("utf-8", "surrogatepass")}"'))
    except ValueError:
        return False  # the parser says what is wrong with it

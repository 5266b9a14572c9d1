# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Decodes images that a request contains as text: base64 or data: URIs.

The text is decoded in small pieces, so that a large image needs no second copy in memory, and does
not block other threads for long.
"""

from __future__ import annotations

import binascii
import re
import tempfile
from typing import BinaryIO, cast
from urllib.parse import unquote_to_bytes

from app.errors import BadRequest, TooLarge

# A decoded image of up to this size is kept in memory, a larger one in a temporary file.
SPOOL_BYTES = 2**20
# The header of a data: URI, up to the comma, may have this many characters.
_MAX_HEADER = 1024
_PIECE = 2**17
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_ASCII_SPACE = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
_IS_BASE64 = re.compile(r";\s*base64\s*\Z", re.IGNORECASE)


class InlineImage:
    """Decodes base64 (standard or URL-safe) or a data: URI that arrives in pieces.

    Padding is optional and white space is ignored. The data of a data: URI may be percent-encoded,
    as well as or instead of base64 (RFC 2397).

    Args:
        max_bytes: the largest image. Of a larger one only the size is determined, for the error.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._file = cast(BinaryIO, tempfile.SpooledTemporaryFile(SPOOL_BYTES))  # noqa: SIM115
        self._owns_file = True
        self._size = 0
        self._error: BadRequest | None = None
        #: the beginning of the text, until it is known whether it is a data: URI; None from then on
        self._head: str | None = ""
        self._percent_encoded = False
        self._base64 = True
        self._pending_text = ""
        self._pending_base64 = b""
        self._padded = False

    def feed(self, text: str) -> None:
        """Decode the next piece of the text. Errors are raised by ``finish``."""
        for begin in range(0, len(text), _PIECE):
            if self._error is not None:
                return
            try:
                self._feed(text[begin : begin + _PIECE])
            except BadRequest as error:
                self._error = error

    def finish(self) -> BinaryIO:
        """Return the image as a file at its beginning. The caller has to close it.

        Raises:
            BadRequest: the text is empty, or no valid base64 or data: URI.
            TooLarge: the image has more than ``max_bytes``.
        """
        if self._error is None:
            try:
                self._finish()
            except BadRequest as error:
                self._error = error
        if self._error is not None:
            raise self._error
        if self._size > self._max_bytes:
            raise TooLarge(
                f"The image has {self._size} bytes; at most {self._max_bytes} are accepted "
                "(MAX_IMAGE_BYTES)",
                code="image_too_large",
            )
        self._file.seek(0)
        self._owns_file = False
        return self._file

    def __del__(self) -> None:
        if self._owns_file:  # ``finish`` was not called, or has failed
            self._file.close()

    def _finish(self) -> None:
        if self._head is not None:
            text, self._head = self._after_header(self._head, complete=True), None
            self._decode(text)
        if self._percent_encoded:
            self._decode_percent(self._pending_text)
        if self._base64:
            rest = self._pending_base64
            self._write(_base64(rest + b"=" * (-len(rest) % 4)))
        if not self._size:
            raise BadRequest("image_base64 is empty", title="No image provided")

    def _feed(self, text: str) -> None:
        if self._head is not None:
            self._head += text
            if len(self._head) < _MAX_HEADER and "," not in self._head:
                return
            text, self._head = self._after_header(self._head, complete=False), None
        self._decode(text)

    def _after_header(self, text: str, *, complete: bool) -> str:
        """Parse the header of a data: URI and return the text after it; other text is unchanged."""
        text = text.lstrip()
        if text[:5].lower() != "data:":
            return text
        header, comma, data = text[:_MAX_HEADER].partition(",")
        if not comma:
            what = "has no comma" if complete else f"has a header above {_MAX_HEADER} characters"
            raise BadRequest(f"The data: URI {what}", title="Invalid data URI")
        self._percent_encoded = True
        self._base64 = _IS_BASE64.search(header) is not None
        return data + text[_MAX_HEADER:]

    def _decode(self, text: str) -> None:
        if not self._percent_encoded:
            self._decode_base64(text)
            return
        text = self._pending_text + text
        # An escape has three characters (%2B). An incomplete one is kept for the next piece.
        cut = text.rfind("%", max(0, len(text) - 2))
        cut = len(text) if cut < 0 else cut
        self._pending_text = text[cut:]
        self._decode_percent(text[:cut])

    def _decode_percent(self, text: str) -> None:
        if not self._base64 and self._size > self._max_bytes:
            # The image is too large: determine only its size, because decoding is slow.
            self._size += len(text) - 2 * text.count("%")
        elif not self._base64:
            if not text.isascii():
                raise BadRequest("The data: URI has odd characters", title="Invalid data URI")
            self._write(unquote_to_bytes(text))
        elif "%" in text:
            self._decode_base64(unquote_to_bytes(text).decode("latin-1"))
        else:
            self._decode_base64(text)

    def _decode_base64(self, text: str) -> None:
        if not text.isascii():
            text = "".join(text.split())  # removes Unicode white space
        try:
            data = text.encode("ascii").translate(_STANDARD_ALPHABET, _ASCII_SPACE)
        except UnicodeEncodeError:
            raise _not_base64() from None
        if not data:
            return
        content = data.rstrip(b"=")
        if self._padded and content:
            raise _not_base64()  # data after padding
        self._padded = self._padded or len(content) < len(data)
        content = self._pending_base64 + content
        cut = len(content) - len(content) % 4
        self._pending_base64 = content[cut:]
        self._write(_base64(content[:cut]))

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._max_bytes:
            self._file.write(data)


def decode_image(text: str, max_bytes: int) -> BinaryIO:
    """Decode an image from a complete text. Raises the errors of ``InlineImage.finish``."""
    image = InlineImage(max_bytes)
    image.feed(text)
    return image.finish()


def _base64(data: bytes) -> bytes:
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except binascii.Error:
        raise _not_base64() from None


def _not_base64() -> BadRequest:
    return BadRequest("image_base64 is not base64", title="Invalid base64")

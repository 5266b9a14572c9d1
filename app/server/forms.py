# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Multipart forms: werkzeug's decoder with limits, and with support for unusual file names.

werkzeug by itself buffers the header lines of a part, and the data before the first and after the
last part, without a limit. It also drops files whose names it cannot parse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import IO

from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.formparser import FormDataParser
from werkzeug.sansio.multipart import Data, Event, Field, File, MultipartDecoder, NeedData, State

from app.errors import TooLarge

#: The most bytes that the header lines of one part may have.
MAX_HEAD_BYTES = 8192
#: The most bytes that the name of a field or a file may have.
MAX_NAME_BYTES = 1024
#: The most bytes that all fields together may have, not counting files.
MAX_FIELDS_BYTES = 2**20
# The most bytes that the boundary may have. RFC 2046 allows 70.
_MAX_BOUNDARY = 256
_PIECE = 2**16

_CONTINUATION = re.compile(rb"(?:\r\n|\n|\r)[ \t]")
# Matches names that werkzeug drops or truncates: unquoted with blanks or non-ASCII letters, without
# a closing quote, or with blanks around the equals sign.
_NAME = r';\s*{}\s*=\s*(?:"([^"]*)|([^";][^;]*))?'
_FIELD_NAME = re.compile(_NAME.format("name"), re.IGNORECASE)
_FILE_NAME = re.compile(_NAME.format(r"filename\*?"), re.IGNORECASE)

Form = tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]


class FormParser(FormDataParser):
    """Reads multipart forms. No route accepts URL-encoded ones, so they are read as empty."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> Form:
        """See FormDataParser. An incomplete form gives no fields and no files.

        Raises:
            TooLarge: there are too many parts, or the headers, a name or all fields are too long.
        """
        boundary = (options or {}).get("boundary", "").encode("latin-1", "replace")
        if mimetype == "multipart/form-data" and 0 < len(boundary) <= _MAX_BOUNDARY:
            try:
                return self._parts(stream, _Decoder(boundary), content_length)
            except ValueError:  # the form is incomplete, or a part has no name
                pass
        while stream.read(_PIECE):  # read the rest, so that a body above the size limit is refused
            pass
        return stream, self.cls(), self.cls()

    def _parts(self, stream: IO[bytes], decoder: _Decoder, content_length: int | None) -> Form:
        with ExitStack() as opened:
            form = self._read(stream, decoder, content_length, opened)
            opened.pop_all()
            return form

    def _read(
        self,
        stream: IO[bytes],
        decoder: _Decoder,
        content_length: int | None,
        opened: ExitStack,
    ) -> Form:
        """Read the parts; their files are added to ``opened``, which closes them after an error.

        Until then a film that was refused would take up disk space.
        """
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        parts = 0
        room = MAX_FIELDS_BYTES
        for event in _events(stream, decoder):
            if isinstance(event, Field | File):
                parts += 1
                if self.max_form_parts is not None and parts > self.max_form_parts:
                    raise TooLarge(
                        f"The form has more than {self.max_form_parts} parts; send fewer at once",
                        code="body_too_large",
                    )
                name, file_name = _names(event)
                headers, value = event.headers, bytearray()
                if file_name is not None:
                    kind = headers.get("content-type")
                    file = self.stream_factory(content_length, kind, file_name, None)
                    opened.callback(_close, file)
            elif isinstance(event, Data) and file_name is not None:
                file.write(event.data)
                if not event.more_data:
                    file.seek(0)
                    files.append((name, FileStorage(file, file_name, name, headers=headers)))
            elif isinstance(event, Data):
                room -= len(event.data)
                if room < 0:
                    raise TooLarge(
                        f"The fields of the form have more than {MAX_FIELDS_BYTES} bytes; "
                        "a file needs a file name",
                        code="body_too_large",
                    )
                value += event.data
                if not event.more_data:
                    fields.append((name, value.decode("utf-8", "replace")))
        return stream, self.cls(fields), self.cls(files)


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # what is left in its buffer cannot be written to a full disk
        file.close()


class _Decoder(MultipartDecoder):
    """Refuses long headers of parts, and reads headers that are not UTF-8 as Latin-1."""

    def check(self) -> None:
        """Check the data that is buffered until a part is complete.

        Raises:
            TooLarge: the headers of a part are too long.
            ValueError: there is too much data before the first part.
        """
        if self.state is State.PREAMBLE and len(self.buffer) > _PIECE:
            raise ValueError("No part begins")
        if self.state is State.PART:
            _check_head(len(self.buffer))

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        _check_head(len(data))
        headers = Headers()
        for line in _CONTINUATION.sub(b" ", data).splitlines():
            name, _, value = _decode_line(line).partition(":")
            if name.strip():
                headers.add(name.strip(), value.strip())
        return headers


def _events(stream: IO[bytes], decoder: _Decoder) -> Iterator[Event]:
    """All events until the end of the last part. Data after it is not read."""
    while True:
        decoder.receive_data(stream.read(_PIECE) or None)
        while not isinstance(event := decoder.next_event(), NeedData):
            yield event
            if decoder.state is State.EPILOGUE:
                return
        decoder.check()


def _names(part: Field | File) -> tuple[str, str | None]:
    """The name of the field, and the file name, which is None if the part is not a file.

    Raises:
        ValueError: the part has no name.
        TooLarge: a name is too long.
    """
    disposition = part.headers["content-disposition"]
    name: str | None = part.name
    file_name = part.filename if isinstance(part, File) else None
    if name is None:
        name = _first_match(_FIELD_NAME, disposition)
    raw = _first_match(_FILE_NAME, disposition)
    if file_name is None or (raw is not None and raw.startswith(file_name)):
        file_name = raw
    if name is None:
        raise ValueError("A part has no name")
    if max(len(name.encode()), len((file_name or "").encode())) > MAX_NAME_BYTES:
        raise TooLarge(
            f"A name in the form has more than {MAX_NAME_BYTES} bytes", code="body_too_large"
        )
    return name, None if file_name is None else file_name.replace("\0", "")


def _first_match(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return None if found is None else (found[1] or found[2] or "").strip()


def _decode_line(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _check_head(length: int) -> None:
    if length > MAX_HEAD_BYTES:
        raise TooLarge(
            f"The head of a part has more than {MAX_HEAD_BYTES} bytes", code="body_too_large"
        )

# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Multipart forms: werkzeug's decoder within bounds, and with file names as clients send them.

werkzeug alone keeps the head of a part, what precedes the first part and what follows the last one
in memory, however long they are, and it drops files whose names it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.formparser import FormDataParser
from werkzeug.sansio.multipart import Data, Event, Field, File, MultipartDecoder, NeedData, State

from app.errors import TooLarge

#: Bytes of the lines before a part's content.
MAX_HEAD_BYTES = 8192
#: Bytes of the name of a field or a file.
MAX_NAME_BYTES = 1024
#: Bytes of all fields together that are no files.
MAX_FIELDS_BYTES = 2**20
# RFC 2046 allows 70.
_MAX_BOUNDARY = 256
_PIECE = 2**16

_CONTINUATION = re.compile(rb"(?:\r\n|\n|\r)[ \t]")
# Names that werkzeug drops or cuts: unquoted ones with blanks or letters beyond ASCII, quoted ones
# without their end, blanks around the equals sign.
_NAME = r';\s*{}\s*=\s*(?:"([^"]*)|([^";][^;]*))?'
_FIELD_NAME = re.compile(_NAME.format("name"), re.IGNORECASE)
_FILE_NAME = re.compile(_NAME.format(r"filename\*?"), re.IGNORECASE)

Form = tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]


class FormParser(FormDataParser):
    """Reads multipart forms, the only ones that any route takes."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> Form:
        """See FormDataParser; of a form that is not complete nothing is given.

        Raises:
            TooLarge: too many parts, too long a head or name, or too much in fields.
        """
        boundary = (options or {}).get("boundary", "").encode("latin-1", "replace")
        if mimetype == "multipart/form-data" and 0 < len(boundary) <= _MAX_BOUNDARY:
            try:
                return self._parts(stream, _Decoder(boundary), content_length)
            except ValueError:  # it has no end, or a part without a name
                pass
        while stream.read(_PIECE):  # it may be above the limit of bodies, and that is said then
            pass
        return stream, self.cls(), self.cls()

    def _parts(self, stream: IO[bytes], decoder: _Decoder, content_length: int | None) -> Form:
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        parts = 0
        room = MAX_FIELDS_BYTES
        for event in _events(stream, decoder):
            if isinstance(event, Field | File):
                parts += 1
                if self.max_form_parts is not None and parts > self.max_form_parts:
                    raise TooLarge(f"The form has more than {self.max_form_parts} parts")
                name, file_name = _names(event)
                headers, value = event.headers, bytearray()
                if file_name is not None:
                    kind = headers.get("content-type")
                    file = self.stream_factory(content_length, kind, file_name, None)
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
                        "a file needs a file name"
                    )
                value += event.data
                if not event.more_data:
                    fields.append((name, value.decode("utf-8", "replace")))
        return stream, self.cls(fields), self.cls(files)


class _Decoder(MultipartDecoder):
    """Refuses long heads, and takes what is not UTF-8 in them for Latin-1."""

    def check(self) -> None:
        """Raises ValueError and TooLarge where what is not complete is too long already."""
        if self.state is State.PREAMBLE and len(self.buffer) > _PIECE:
            raise ValueError("No part begins")
        if self.state is State.PART:
            _check_head(len(self.buffer))

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        _check_head(len(data))
        headers = Headers()
        for line in _CONTINUATION.sub(b" ", data).splitlines():
            name, _, value = _decoded(line).partition(":")
            if name.strip():
                headers.add(name.strip(), value.strip())
        return headers


def _events(stream: IO[bytes], decoder: _Decoder) -> Iterator[Event]:
    """All up to the last part's end; what follows it is not read."""
    while True:
        decoder.receive_data(stream.read(_PIECE) or None)
        while not isinstance(event := decoder.next_event(), NeedData):
            yield event
            if decoder.state is State.EPILOGUE:
                return
        decoder.check()


def _names(part: Field | File) -> tuple[str, str | None]:
    """Of the field and of the file, which is None where the part is no file.

    Raises:
        ValueError: the part has no name.
        TooLarge: one is too long.
    """
    disposition = part.headers["content-disposition"]
    name: str | None = part.name
    file_name = part.filename if isinstance(part, File) else None
    if name is None:
        name = _first(_FIELD_NAME, disposition)
    raw = _first(_FILE_NAME, disposition)
    if file_name is None or (raw is not None and raw.startswith(file_name)):
        file_name = raw
    if name is None:
        raise ValueError("A part has no name")
    if max(len(name.encode()), len((file_name or "").encode())) > MAX_NAME_BYTES:
        raise TooLarge(f"A name in the form has more than {MAX_NAME_BYTES} bytes")
    return name, None if file_name is None else file_name.replace("\0", "")


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return None if found is None else (found[1] or found[2] or "").strip()


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _check_head(length: int) -> None:
    if length > MAX_HEAD_BYTES:
        raise TooLarge(f"The head of a part has more than {MAX_HEAD_BYTES} bytes")

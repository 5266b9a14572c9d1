# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the numbers of a Parquet column of vectors straight from its pages.

For a column of fixed-size lists, pyarrow takes each of its numbers apart: 7 seconds for a million
vectors of 768 (one core of a Zen 5). In a page without encoding the numbers lie one after the other
as NumPy needs them, so reading pages takes no longer than reading the file. Where a column is
written in another way, ``column`` gives None, and pyarrow reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Floats = NDArray[np.float16] | NDArray[np.float32]

# Numbers of Parquet's format: https://github.com/apache/parquet-format, parquet.thrift
_DATA_PAGE, _DATA_PAGE_V2, _PLAIN = 0, 3, 0
_TYPE, _UNCOMPRESSED_SIZE, _COMPRESSED_SIZE, _HEADER, _HEADER_V2 = 1, 2, 3, 5, 8
_VALUES, _ENCODING = 1, 2
_ENCODING_V2, _DEFINITION_BYTES, _REPETITION_BYTES, _IS_COMPRESSED = 4, 5, 6, 7

_CODECS = {"UNCOMPRESSED": None, "ZSTD": "zstd", "SNAPPY": "snappy"}
_HEAD_BYTES = 4096  # of a page's header, which takes about 60


class OddPage(Exception):
    """A page is not written as its file promised, or the file is damaged."""


@dataclass(frozen=True)
class Column:
    """The numbers of one row group's vectors, as they lie in the file."""

    start: int
    #: bytes of all pages with their headers
    size: int
    #: numbers and nulls
    values: int
    type: np.dtype[Any]
    codec: str | None


def column(file: pq.ParquetFile, group: int, index: int) -> Column | None:
    """The column ``index`` of a row group; None if only pyarrow can read it."""
    chunk = file.metadata.row_group(group).column(index)
    shape = file.schema.column(index)
    type_: np.dtype[Any]
    if chunk.physical_type == "FLOAT":
        type_ = np.dtype("<f4")
    elif chunk.physical_type == "FIXED_LEN_BYTE_ARRAY" and shape.logical_type.type == "FLOAT16":
        type_ = np.dtype("<f2")
    else:
        return None
    if (
        chunk.compression not in _CODECS
        or chunk.has_dictionary_page
        or not set(chunk.encodings) <= {"PLAIN", "RLE"}
        or shape.max_repetition_level != 1
    ):
        return None
    return Column(
        chunk.data_page_offset,
        chunk.total_compressed_size,
        chunk.num_values,
        type_,
        _CODECS[chunk.compression],
    )


def numbers(descriptor: int, column: Column) -> Iterator[Floats]:
    """The numbers of each page. Nulls are left out, so a page may have none.

    The file is read instead of mapped: a mapped file that is cut off meanwhile, or whose disk
    fails, would end the process with SIGBUS.

    Raises:
        OddPage: see there.
        OSError: the file cannot be read.
    """
    codec = pa.Codec(column.codec) if column.codec else None
    at, seen = column.start, 0
    while seen < column.values:
        head, length = _struct(os.pread(descriptor, _HEAD_BYTES, at))
        at += length
        body = os.pread(descriptor, head[_COMPRESSED_SIZE], at)
        at += len(body)
        if len(body) != head[_COMPRESSED_SIZE] or at > column.start + column.size:
            raise OddPage("the file ends within a page")
        count, page = _values(head, body, codec)
        seen += count
        if len(page) % column.type.itemsize:
            raise OddPage("a page with a part of a number")
        yield np.frombuffer(page, column.type)


def _values(head: dict[int, Any], body: bytes, codec: pa.Codec | None) -> tuple[int, Any]:
    """How many numbers and nulls a page has, and the bytes of its numbers."""
    if head[_TYPE] == _DATA_PAGE:
        inner = head[_HEADER]
        page = memoryview(body)
        if codec is not None:
            page = memoryview(codec.decompress(body, head[_UNCOMPRESSED_SIZE]))
        # first the levels: which number begins a list, and which list is null
        for _ in range(2):
            length = int.from_bytes(page[:4], "little")
            page = page[4 + length :]
        encoding = inner[_ENCODING]
    elif head[_TYPE] == _DATA_PAGE_V2:
        inner = head[_HEADER_V2]
        levels = inner[_DEFINITION_BYTES] + inner[_REPETITION_BYTES]
        page = memoryview(body)[levels:]
        if codec is not None and inner.get(_IS_COMPRESSED, True) and len(page):
            page = memoryview(codec.decompress(page, head[_UNCOMPRESSED_SIZE] - levels))
        encoding = inner[_ENCODING_V2]
    else:
        raise OddPage("a page that holds no data")
    if encoding != _PLAIN:
        raise OddPage("a page with encoded numbers")
    return inner[_VALUES], page


def _struct(data: bytes) -> tuple[dict[int, Any], int]:
    """A struct in Thrift's compact protocol: its fields by number, and how many bytes it takes."""
    try:
        reader = _Thrift(data)
        return reader.struct(), reader.at
    except IndexError:
        raise OddPage("a page's header is cut off") from None


class _Thrift:
    """Reads Thrift's compact protocol."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = self._value(head & 15)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (1, 2):  # true and false
            return kind == 1
        if kind in (3, 4, 5, 6):
            return self._byte() if kind == 3 else self._signed()
        if kind == 8:
            length = self._unsigned()
            self.at += length
            return self._data[self.at - length : self.at]
        if kind == 12:
            return self.struct()
        raise OddPage("a page's header with a field that Parquet does not have")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _unsigned(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

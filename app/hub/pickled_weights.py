# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads which tensors a ``pytorch_model.bin`` holds, and refuses one that asks for anything else.

Such a file is a zip archive with a pickle, and one file of raw numbers for each tensor. A pickle is
a program that may call any function. Here it may only describe tensors: every instruction and name
that torch does not write for a dictionary of tensors is refused before anything is called. torch's
restricted unpickler reads the file afterwards; it permits more.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from app.engines.base import Unsupported

#: The suffix of the files that this module reads.
SUFFIX = ".bin"
_ZIP = b"PK\x03\x04"
_LARGEST_PICKLE = 64_000_000  # bytes; those of published models have less than one million
#: bytes of one number, by the name of the storage's class in torch
_WIDTHS = {
    "torch DoubleStorage": 8,
    "torch FloatStorage": 4,
    "torch HalfStorage": 2,
    "torch BFloat16Storage": 2,
    "torch LongStorage": 8,
    "torch IntStorage": 4,
    "torch ShortStorage": 2,
    "torch CharStorage": 1,
    "torch ByteStorage": 1,
    "torch BoolStorage": 1,
}
#: The instructions of which torch's pickles of tensors consist.
# fmt: off
_INSTRUCTIONS = frozenset((
    "PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "BINPUT", "LONG_BINPUT",
    "BINGET", "LONG_BINGET", "BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "NONE", "NEWTRUE", "NEWFALSE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS",
))
# fmt: on
_ADVICE = "save the weights again as model.safetensors"


class Tensor(NamedTuple):
    """One tensor of the file."""

    shape: tuple[int, ...]
    #: bytes of its numbers
    size: int


class _Storage(NamedTuple):
    """The numbers of one or more tensors."""

    #: bytes of one number
    width: int
    length: int


def tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the file, by name; their numbers are not read.

    Raises:
        Unsupported: the file is not in torch's zip format, or holds anything but tensors.
        Exception: the file is damaged.
    """
    _check_format(path)
    with zipfile.ZipFile(path) as archive:
        found = _Reader(archive, path.name).state()
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(each, Tensor) for name, each in found.items()
    ):
        raise Unsupported(f"{path.name} is not a dictionary of tensors by name; {_ADVICE}")
    return dict(found)


def _check_format(path: Path) -> None:
    """Raises Unsupported if the file is in one of torch's older formats."""
    with path.open("rb") as file:
        begin = file.read(len(_ZIP))
    if begin != _ZIP:
        raise Unsupported(
            f"{path.name} is not in the zip format that torch writes since version 1.6; older "
            f"formats are not read: {_ADVICE}"
        )


class _Reader(pickle.Unpickler):
    """Reads the pickle of an archive; all that it can make are descriptions of tensors."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        """Raises Unsupported."""
        self._name = name
        entries = {entry.filename: entry for entry in archive.infolist()}
        (pickled,) = [each for each in entries.values() if _inner(each.filename) == "data.pkl"]
        self._top = pickled.filename.partition("/")[0]
        self._entries = entries
        if f"{self._top}/constants.pkl" in entries:
            raise Unsupported(f"{name} is a TorchScript program; {_ADVICE}")
        order = entries.get(f"{self._top}/byteorder")
        if order is not None and archive.read(order) != b"little":
            raise Unsupported(f"{name} has its bytes in big-endian order; {_ADVICE}")
        if pickled.file_size > _LARGEST_PICKLE:
            raise ValueError("the pickle is too large")
        content = archive.read(pickled)
        self._check_instructions(content)
        super().__init__(io.BytesIO(content), encoding="utf-8")

    def state(self) -> object:
        """What the pickle describes. Raises Unsupported."""
        return self.load()

    def _check_instructions(self, content: bytes) -> None:
        argument: Any
        for instruction, argument, _ in pickletools.genops(content):
            if instruction.name not in _INSTRUCTIONS:
                raise self._refusal(f"the pickle instruction {instruction.name}")
            # The unpickler reserves memory for as many objects as the number says.
            if instruction.name == "LONG_BINPUT" and argument > len(content):
                raise ValueError("the pickle numbers its objects wrongly")
            if instruction.name == "GLOBAL":
                self._named(argument)

    def _named(self, name: str) -> Any:
        """What a name in the pickle stands for here. Raises Unsupported."""
        if name in _WIDTHS:
            return _WIDTHS[name]
        known = {
            "collections OrderedDict": OrderedDict,
            "torch._utils _rebuild_tensor_v2": self._tensor,
            "torch._utils _rebuild_parameter": self._parameter,
        }
        if name not in known:
            raise self._refusal(name.replace(" ", "."))
        return known[name]

    def _refusal(self, what: str) -> Unsupported:
        return Unsupported(
            f"{self._name} asks for {what[:80]}, which a file with only tensors does not; nothing "
            "of it was run"
        )

    def find_class(self, module: str, name: str, /) -> Any:
        """See the base class. Raises Unsupported."""
        return self._named(f"{module} {name}")

    def persistent_load(self, pid: Any, /) -> _Storage:
        """See the base class. Raises Unsupported, ValueError."""
        kind, width, key, _device, count = pid
        if kind != "storage" or width not in _WIDTHS.values() or not _is_size(count):
            raise ValueError("the pickle describes no storage")
        entry = self._entries[f"{self._top}/data/{key}"]
        # Numbers in a compressed file cannot be mapped into memory; torch would map the wrong ones.
        if entry.compress_type != zipfile.ZIP_STORED:
            raise Unsupported(f"{self._name} is compressed; {_ADVICE}")
        if entry.file_size != width * count:
            raise ValueError("a storage has not the size that the pickle states")
        return _Storage(width, count)

    def _tensor(
        self,
        storage: _Storage,
        offset: int,
        shape: Sequence[int],
        stride: Sequence[int],
        *_more: object,
    ) -> Tensor:
        numbers = (offset, *shape, *stride)
        if not isinstance(storage, _Storage) or not all(map(_is_size, numbers)):
            raise ValueError("the pickle describes no tensor")
        last = sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
        if 0 not in shape and offset + last >= storage.length:
            raise ValueError("a tensor is larger than its storage")
        return Tensor(tuple(shape), math.prod(shape) * storage.width)

    def _parameter(self, tensor: object, *_more: object) -> Tensor:
        if not isinstance(tensor, Tensor):
            raise ValueError("the pickle describes no parameter")
        return tensor


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 0


def _inner(name: str) -> str:
    """The name of an entry without the archive's own folder."""
    return name.partition("/")[2]

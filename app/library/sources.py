# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Lists the pictures of folders, patterns, manifests, tar files and object stores.

Everything is read as it is needed, so a list of many millions takes no more memory than a short
one.
"""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath

from app.errors import BadRequest
from app.library import addresses, manifests
from app.library.folders import Failure, Walk, is_kept_by_system, is_named_like_picture
from app.library.items import REMOTE_IS_OFF, Item, LocalFile, Member, Remote, Stored
from app.remote.fetch import Fetcher

_MANIFESTS = (".parquet", ".csv", ".jsonl")
_PATTERN = re.compile(r"[*?\[]")


@dataclass
class Sources:
    """What a command was told to read, and what it left out on the way."""

    given: Sequence[str]
    #: of pictures on web servers; None: they are turned off
    fetcher: Fetcher | None = None
    #: local files and folders that the command writes, which must not become its input
    own: Sequence[Path] = ()
    #: include hidden names, and what a NAS or system keeps
    everything: bool = False
    #: folders that cannot be read
    failures: list[Failure] = field(default_factory=list)
    #: names left out because a NAS or system keeps them
    left_out: Counter[str] = field(default_factory=Counter)

    def check(self) -> None:
        """Raise BadRequest for what is wrong with a source at first sight."""
        for each in self.given:
            _kind(each, self._own())
            if addresses.is_web(each) and self.fetcher is None:
                raise BadRequest(f"{each}: {REMOTE_IS_OFF}")

    def items(self) -> Iterator[Item]:
        """All pictures, and other files of folders. One that is given twice comes twice.

        Raises:
            BadRequest: a source does not exist or cannot be read.
        """
        for each in self.given:
            yield from _kind(each, self._own())(self, each)

    def _own(self) -> set[str]:
        return {os.path.realpath(path) for path in self.own}

    # -- the kinds of sources ------------------------------------------------------------------

    def _manifest(self, source: str) -> Iterator[Item]:
        return manifests.items(source, self.fetcher)

    def _tar(self, source: str) -> Iterator[Item]:
        with _named(source):
            system, path = addresses.system(source)
            with system.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    # tarfile remembers each member that it has seen.
                    archive.members = []  # type: ignore[attr-defined]
                    if member.isfile() and is_named_like_picture(member.name):
                        name = addresses.text(f"{source}/{member.name}")
                        place = member.offset_data, member.size
                        yield Member(name, name, source, *place)
                # tarfile takes a damaged header for the end of the file.
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                    raise BadRequest(f"{source}: it is damaged at byte {archive.offset}")

    def _folder(self, source: str) -> Iterator[Item]:
        walk = Walk(self._own(), self.everything)
        for photo in walk.files(Path(source)):
            yield _local(photo.path, is_found=True)
        self.failures += walk.failures.values()
        self.left_out += walk.left_out

    def _pattern(self, source: str) -> Iterator[Item]:
        own, any_file = self._own(), False
        # What the user wrote in full before the first * is wanted, whatever its name.
        given = Path(source).parts
        written = len(list(takewhile(lambda part: not _PATTERN.search(part), given)))
        # Path.glob takes no absolute pattern.
        found = glob.iglob(source, recursive=True, include_hidden=self.everything)  # noqa: PTH207
        for name in found:
            path = Path(name)
            if path.is_dir() or os.path.realpath(path) in own:
                continue
            any_file = True
            kept = [part for part in path.parts[written:] if is_kept_by_system(part)]
            if kept and not self.everything:
                self.left_out[kept[0]] += 1
                continue
            if name.lower().endswith((*_MANIFESTS, ".tar")):
                yield from _kind(name, own)(self, name)
            else:
                yield _local(path, is_found=True)
        if not any_file:
            raise BadRequest(f"{source}: no file matches")

    def _file(self, source: str) -> Iterator[Item]:
        yield _local(Path(source))

    def _web(self, source: str) -> Iterator[Item]:
        name = addresses.text(source)
        yield Remote(name, name, source, self.fetcher)

    def _store(self, source: str) -> Iterator[Item]:
        """An object, all objects below a prefix, or those that match a pattern."""
        head = source[: source.index("://") + 3]
        with _named(source):
            system, path = addresses.system(source)
            if is_pattern := _PATTERN.search(path) is not None:
                found: Iterator[str] = (
                    each for each in system.glob(path) if self._is_wanted("", each.split("/")[-1])
                )
            elif system.isfile(path):
                yield _stored(source)
                return
            else:
                found = (
                    f"{folder}/{name}"
                    for folder, name in _below(system, path)
                    if self._is_wanted(folder.removeprefix(path), name)
                )
            any_file = False
            for each in found:
                any_file = True
                address = head + (each if head == "file://" else each.lstrip("/"))
                if each.lower().endswith((*_MANIFESTS, ".tar")) and is_pattern:
                    yield from _kind(address, set())(self, address)
                elif is_named_like_picture(each):
                    yield _stored(address)
        if not any_file:
            raise BadRequest(f"{source}: there is no file")

    def _is_wanted(self, folder: str, name: str) -> bool:
        return self.everything or not any(
            part.startswith(".") for part in (*PurePosixPath(folder).parts, name)
        )


_Kind = Callable[[Sources, str], Iterator[Item]]


def _kind(source: str, own: set[str]) -> _Kind:
    """How a source is read. Raises BadRequest if that cannot work."""
    name = source.lower()
    if name.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")):
        raise BadRequest(
            f"{source} is compressed, so its pictures have no place of their own: "
            "decompress it to a .tar first"
        )
    local = addresses.is_local(source)
    if addresses.is_web(source):
        if name.endswith((*_MANIFESTS, ".tar")):
            raise BadRequest(f"{source}: download it first; only pictures are read from the web")
        return Sources._web
    if not local:
        addresses.system(source)
    elif not os.path.lexists(source):
        if _PATTERN.search(source):
            return Sources._pattern
        raise BadRequest(f"{source} does not exist")
    elif Path(source).is_dir():
        if os.path.realpath(source) in own:
            raise BadRequest(f"{source} cannot be both input and output")
        return Sources._folder
    if name.endswith(_MANIFESTS):
        return Sources._manifest
    if name.endswith(".tar"):
        return Sources._tar
    return Sources._file if local else Sources._store


def is_photo_or_folder(source: str) -> bool:
    """Whether a source is a path of this machine that names one photo or a folder."""
    is_list = source.lower().endswith((*_MANIFESTS, ".tar")) and not Path(source).is_dir()
    is_pattern = _PATTERN.search(source) is not None and not os.path.lexists(source)
    return addresses.is_local(source) and not is_pattern and not is_list


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Put the source's name before what is wrong with it."""
    try:
        with addresses.reading():
            yield
    except BadRequest as error:
        message = error.message
        if not message.startswith(source):
            message = f"{source}: {message[0].lower()}{message[1:]}"
        raise BadRequest(message) from error


def _below(system: addresses.System, top: str) -> Iterator[tuple[str, str]]:
    """Folder and name of each file below a folder of a store.

    The walk of fsspec itself leaves out folders that cannot be listed, without a word.
    """
    waiting = [top.rstrip("/")]
    while waiting:
        folder = waiting.pop()
        found = []
        with suppress(FileNotFoundError):  # there is nothing, or it was deleted meanwhile
            found = system.ls(folder or "/", detail=True)
        folders = []
        for path, kind in sorted((each["name"].rstrip("/"), each["type"]) for each in found):
            if kind == "directory" and path != folder:
                folders.append(path)
            elif path != folder:  # some stores list a folder as an empty object in itself
                yield folder, path.rpartition("/")[2]
        waiting += reversed(folders)


def _stored(address: str) -> Stored:
    name = addresses.text(address)
    return Stored(name, name, address)


def _local(path: Path, is_found: bool = False) -> LocalFile:
    name = addresses.text(str(path))
    return LocalFile(name, name, path, is_found)

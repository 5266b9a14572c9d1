# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Lists the pictures of folders, patterns, manifests, tar files and object stores.

Everything is read as it is needed, so a list of many millions takes no more memory than a short
one.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from app.errors import BadRequest
from app.library import addresses, manifests
from app.library.folders import Failure, Walk, is_named_like_picture
from app.library.items import REMOTE_IS_OFF, Broken, Item, LocalFile, Member, Remote, Stored
from app.library.patterns import Pattern, is_pattern, written
from app.remote.fetch import Fetcher

_MANIFESTS = (".parquet", ".csv", ".jsonl")
# Bytes that are read at a time after the end of a tar file; a multiple of its blocks.
_BUFFER = 2**20


@dataclass
class Sources:
    """What a command was told to read, and what it left out on the way."""

    given: Sequence[str]
    #: of pictures on web servers; None: they are turned off
    fetcher: Fetcher | None = None
    #: files and folders that the command writes, which must not become its input
    own: Sequence[str] = ()
    #: include hidden names, and what a NAS or system keeps
    everything: bool = False
    #: folders that cannot be read
    failures: list[Failure] = field(default_factory=list)
    #: names left out because a NAS or system keeps them
    left_out: Counter[str] = field(default_factory=Counter)

    def check(self) -> None:
        """Raise BadRequest for what is wrong with a source at first sight."""
        own = Own(self.own)
        for each in self.given:
            _kind(each, own)
            if addresses.is_web(each) and self.fetcher is None:
                raise BadRequest(f"{each}: {REMOTE_IS_OFF}")

    def items(self) -> Iterator[Item]:
        """All pictures, and other files of folders. One that is given twice comes twice.

        Raises:
            BadRequest: a source does not exist or cannot be read.
        """
        own = Own(self.own)
        for each in self.given:
            yield from _kind(each, own)(self, each)

    # -- the kinds of sources ------------------------------------------------------------------

    def _manifest(self, source: str) -> Iterator[Item]:
        return manifests.items(source, self.fetcher)

    def _tar(self, source: str) -> Iterator[Item]:
        #: names of links by the names of what they link to
        links: dict[str, list[str]] = {}
        with _named(source):
            for member in _members(source):
                if not is_named_like_picture(member.name):
                    continue
                if member.isfile():
                    yield _member(source, member.name, member)
                elif member.islnk() or member.issym():
                    links.setdefault(_target(member), []).append(member.name)
            for member in _members(source) if links else ():
                names = links.pop(posixpath.normpath(member.name), ()) if member.isfile() else ()
                for name in names:
                    yield _member(source, name, member)
        for target, names in links.items():
            for name in names:
                shown = addresses.text(f"{source}/{name}")
                why = f"It is a link to {addresses.text(target)}, which the tar file does not have"
                yield Broken(shown, shown, why)

    def _folder(self, source: str) -> Iterator[Item]:
        for path in self._walked(Path(source), None):
            yield _local(path, is_found=True)

    def _pattern(self, source: str) -> Iterator[Item]:
        pattern, failures, any_file = Pattern(source, self.everything), len(self.failures), False
        for path in self._walked(pattern.top, pattern) if _is_folder(pattern.top) else ():
            any_file = True
            name = str(path)
            if name.lower().endswith((*_MANIFESTS, ".tar")):
                yield from _kind(name, Own())(self, name)
            else:
                yield _local(path, is_found=True)
        if not any_file and len(self.failures) == failures:
            raise BadRequest(f"{source}: no file matches")

    def _walked(self, top: Path, pattern: Pattern | None) -> Iterator[Path]:
        walk = Walk(Own(self.own).paths, self.everything, pattern)
        for photo in walk.files(top):
            yield photo.path
        self.failures += walk.failures.values()
        self.left_out += walk.left_out

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
            own = Own(self.own).below(system, written(path) if is_pattern(path) else path)
            if is_pattern(path):
                within = tuple(f"{each}/" for each in own)
                found: Iterator[str] = (
                    each
                    for each in system.glob(path)
                    if self._is_wanted("", each.split("/")[-1])
                    and not f"{each}/".startswith(within)
                )
            elif system.isfile(path):
                yield _stored(source)
                return
            else:
                found = (
                    f"{folder}/{name}"
                    for folder, name in _below(system, path, own)
                    if self._is_wanted(folder.removeprefix(path), name)
                )
            any_file = False
            for each in found:
                any_file = True
                address = head + (each if head == "file://" else each.lstrip("/"))
                if each.lower().endswith((*_MANIFESTS, ".tar")) and is_pattern(path):
                    yield from _kind(address, Own())(self, address)
                elif is_named_like_picture(each):
                    yield _stored(address)
        if not any_file:
            raise BadRequest(f"{source}: there is no file")

    def _is_wanted(self, folder: str, name: str) -> bool:
        return self.everything or not any(
            part.startswith(".") for part in (*PurePosixPath(folder).parts, name)
        )


class Own:
    """The files and folders that a command writes."""

    def __init__(self, given: Sequence[str] = ()) -> None:
        """Find them. Raises BadRequest if an address cannot be opened."""
        self._places: list[tuple[Any, str]] = [_place(*addresses.system(each)) for each in given]

    @property
    def paths(self) -> set[str]:
        """Real paths of those on this machine."""
        return {path for kind, path in self._places if "file" in kind.protocol}

    def has(self, address: str) -> bool:
        """Whether an address is that of one of them."""
        return _place(*addresses.system(address)) in self._places

    def below(self, system: addresses.System, top: str) -> set[str]:
        """Those below a folder of a file system, as paths that begin with the folder's."""
        ours, real = _place(system, top)
        return {
            top.rstrip("/") + path.removeprefix(real)
            for kind, path in self._places
            if kind is ours and path.startswith(f"{real}/")
        }


_Kind = Callable[[Sources, str], Iterator[Item]]


def _kind(source: str, own: Own) -> _Kind:
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
    is_there = local and os.path.lexists(source)
    if own.has(written(source) if is_pattern(source) and not is_there else source):
        raise BadRequest(f"{source} cannot be both input and output")
    if local and not is_there:
        if is_pattern(source):
            return Sources._pattern
        raise BadRequest(f"{source} does not exist")
    if local and _is_folder(source):
        return Sources._folder
    if name.endswith(_MANIFESTS):
        return Sources._manifest
    if name.endswith(".tar"):
        return Sources._tar
    return Sources._file if local else Sources._store


def is_photo_or_folder(source: str) -> bool:
    """Whether a source is a path of this machine that names one photo or a folder."""
    is_list = source.lower().endswith((*_MANIFESTS, ".tar")) and not _is_folder(source)
    is_some = is_pattern(source) and not os.path.lexists(source)
    return addresses.is_local(source) and not is_some and not is_list


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


def _is_folder(path: str | Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises an error where it may not look


def _place(system: addresses.System, path: str) -> tuple[Any, str]:
    """The kind of a file system, and a path there; equal for two names of one file."""
    kind = type(system)
    if "file" in kind.protocol:
        path = os.path.realpath(path)
    return kind, path.rstrip("/")


def _below(system: addresses.System, top: str, own: set[str]) -> Iterator[tuple[str, str]]:
    """Folder and name of each file below a folder of a store, without what the command writes.

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
            if path == folder or path in own:  # some stores list a folder as an object in itself
                continue
            if kind == "directory":
                folders.append(path)
            else:
                yield folder, path.rpartition("/")[2]
        waiting += reversed(folders)


def _members(source: str) -> Iterator[tarfile.TarInfo]:
    """What is in a tar file, also after its end if others were appended to it, as by ``cat``."""
    system, path = addresses.system(source)
    with system.open(path, "rb") as file:
        start: int | None = 0
        while start is not None:
            file.seek(start)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    # tarfile remembers each member that it has seen.
                    archive.members = []  # type: ignore[attr-defined]
                    yield member
                end = archive.offset
            # tarfile takes a damaged header for the end of the file.
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise BadRequest(f"{source}: it is damaged at byte {end}")
            start = _next_tar(file)


def _next_tar(file: BinaryIO) -> int | None:
    """Where another tar file begins after the end of one; None if there is none."""
    at = file.tell()
    while block := file.read(_BUFFER):
        if block.strip(b"\0"):
            at += (len(block) - len(block.lstrip(b"\0"))) // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
            file.seek(at)
            try:
                tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
            except tarfile.TarError:
                return None
            return at
        at += len(block)
    return None


def _member(source: str, name: str, content: tarfile.TarInfo) -> Member:
    shown = addresses.text(f"{source}/{name}")
    return Member(shown, shown, source, content.offset_data, content.size)


def _target(link: tarfile.TarInfo) -> str:
    """The name of what a link in a tar file links to."""
    folder = posixpath.dirname(link.name) if link.issym() else ""
    return posixpath.normpath(posixpath.join(folder, link.linkname))


def _stored(address: str) -> Stored:
    name = addresses.text(address)
    return Stored(name, name, address)


def _local(path: Path, is_found: bool = False) -> LocalFile:
    name = addresses.text(str(path))
    return LocalFile(name, name, path, is_found)

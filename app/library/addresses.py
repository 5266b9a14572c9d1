# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Addresses of files and folders: paths of this machine, and what fsspec opens, such as s3://.

fsspec is imported inside functions, so that the service, which needs none of this, starts without
it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.errors import BadRequest, NoResources, TwinlensError

#: fsspec.AbstractFileSystem, which ships no types
System = Any

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_WEB = ("http", "https")
#: Object stores, whose hosts are those of the settings. Others, such as ftp://, name any host.
_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "file", "local", "memory")


def scheme(address: str) -> str | None:
    """The part before "://", in lower case; None for a path of this machine."""
    found = _SCHEME.match(address)
    return found[1].lower() if found else None


def is_web(address: str) -> bool:
    """Whether only the fetcher, with its policy, may open this address."""
    return scheme(address) in _WEB


def is_local(address: str) -> bool:
    """Whether this is a path of this machine, without a scheme."""
    return scheme(address) is None


def is_store(address: str) -> bool:
    """Whether the address is in an object store or on this machine, so that a row of somebody
    else's manifest cannot make this machine reach a host of its choice.
    """
    return scheme(address) in _STORES


def below(folder: str, path: str) -> str:
    """The address of ``path``, which may be relative to a folder or stand for itself."""
    if not is_local(path) or posixpath.isabs(path):
        return path
    return posixpath.join(folder, path) if folder else path


def system(address: str) -> tuple[System, str]:
    """The file system of an address, and the path there.

    Raises:
        BadRequest: fsspec knows no such scheme, a package for it is missing, or it is a web address
            that would bypass the policy of the fetcher.
    """
    import fsspec

    kind = scheme(address)
    if kind is None:
        return fsspec.filesystem("file"), address
    if kind in _WEB:
        raise BadRequest(f"{address} is on a web server: only single pictures are read from there")
    if "::" in address:
        raise BadRequest(f"{address}: chains of addresses (::) are not opened")
    try:
        found, path = fsspec.core.url_to_fs(address)
    except Exception as error:  # each store has exceptions of its own
        if no_resources := NoResources.from_error(error):
            raise no_resources from error
        what = str(error).splitlines()[0] if str(error) else kind
        hint = "; pip install -r config/requirements-cluster.txt" if kind in ("s3", "s3a") else ""
        raise BadRequest(f"{kind}:// addresses cannot be opened: {what}{hint}") from None
    return found, path


@contextmanager
def reading() -> Iterator[None]:
    """Turn what a store raises into a BadRequest that says why the address cannot be read."""
    try:
        yield
    except TwinlensError:
        raise
    except FileNotFoundError:
        raise BadRequest("It does not exist", title="No image") from None
    except Exception as error:  # each store has exceptions of its own
        if no_resources := NoResources.from_error(error):
            raise no_resources from error
        raise BadRequest(f"It cannot be read ({reason(error)})", title="No image") from error


def text(name: str) -> str:
    """A name as text for a table, which takes no lone surrogates: Python has them for bytes of file
    names that are not UTF-8.
    """
    return name.encode("utf-8", "backslashreplace").decode()


def reason(error: Exception) -> str:
    """Why a store failed, in a line."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__

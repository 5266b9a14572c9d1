# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Explains a failed download: the reason, and what the operator can do."""

from __future__ import annotations

from dataclasses import dataclass

from app.hub.lockfile import NAME, LockFileError, Record
from config.models import ModelSpec


@dataclass(frozen=True)
class Problem:
    """Why a download failed and what to do."""

    #: may be shown to clients: contains no URL and no path of the host
    reason: str
    #: tells the operator what to do; not shown to clients
    advice: str


def explain(error: Exception, spec: ModelSpec, known: Record | None = None) -> Problem:
    """Explain an error of ``transfer``.

    Args:
        error: any exception.
        spec: the model.
        known: the record of the commit, if a recorded commit was requested.
    """
    # Imported only here, because these libraries read the environment when they are imported.
    from httpx2 import HTTPError, InvalidURL
    from huggingface_hub.errors import HfHubHTTPError

    from app.hub.transfer import ChecksumError

    if isinstance(error, ChecksumError):
        return Problem(str(error), _CHECKSUM)
    if isinstance(error, LockFileError):
        return Problem(f"{NAME} in the cache cannot be used", str(error))
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return _refused(error, error.response.status_code, spec, known)
    if isinstance(error, HTTPError | InvalidURL):
        return _unreachable(error)
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return Problem(f"the checkpoint could not be written ({error.strerror})", _DISK)
    if type(error) is OSError:  # ``transfer`` or the hub client could not use the answer
        return Problem("the hub's answer cannot be used", f"{error}; {_TRY_AGAIN}")
    return Problem("the hub cannot be reached", _NETWORK)


_TRY_AGAIN = "run it again: it goes on where it stopped"
_CHECKSUM = (
    "run it again; where that does not help, something on the way (a proxy, a mirror named by "
    "HF_ENDPOINT) changes files, or a file on disk has to be deleted"
)
_DISK = (
    "free some space or choose another folder (HF_HUB_CACHE, --output) that can be written; what "
    "has arrived is kept"
)
_NETWORK = (
    "check the network, HTTPS_PROXY and HF_ENDPOINT. For a machine without network run `python -m "
    "app download MODEL --output DIR` on another one, and copy that folder"
)
_LOGIN = "set HF_TOKEN to a token (hub: Settings, Access Tokens) of an account that may read it"


def _refused(error: Exception, status: int, spec: ModelSpec, known: Record | None) -> Problem:
    """Explain an error status of the hub."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    row = f"the row {spec.key} of the table of models (MODELS_FILE)"
    if isinstance(error, GatedRepoError):
        page = f"ask for access on the page of {spec.hub_id}"
        return Problem("the hub wants a login for this repository", f"{page}, then {_LOGIN}")
    if isinstance(error, RepositoryNotFoundError):
        advice = f"check hub_id in {row}; where it is private, {_LOGIN}"
        return Problem("the hub does not know this repository", advice)
    if isinstance(error, RevisionNotFoundError) and known is not None:
        advice = f"`python -m app download {spec.key} --update` takes what the hub has today"
        return Problem("the hub no longer has the recorded commit", advice)
    if isinstance(error, RevisionNotFoundError):
        return Problem(f"the hub has no revision {spec.revision}", f"check revision in {row}")
    if isinstance(error, EntryNotFoundError):
        advice = f"check hub_id and revision in {row}: it must have the files of its family"
        return Problem("the repository on the hub lacks a file", advice)
    reason = f"the hub answered {status}"
    if status in (401, 403):
        advice = f"HF_TOKEN is not valid or may not read it: {_LOGIN}, or unset it"
    elif status == 407:
        advice = "the proxy wants a login: HTTPS_PROXY=http://user:password@host:port"
    elif status == 429:
        advice = "wait some minutes; a token in HF_TOKEN raises the limit"
    elif status >= 500:
        advice = f"the trouble is there: wait some minutes and {_TRY_AGAIN}"
    else:
        advice = f"check HF_ENDPOINT and {row}"
    return Problem(reason, advice)


def _unreachable(error: Exception) -> Problem:
    """Explain why the hub's answer did not arrive, or arrived only in part."""
    from httpx2 import InvalidURL, ProxyError, TimeoutException, UnsupportedProtocol

    if isinstance(error, ProxyError):
        return Problem("the proxy refused the connection", "check HTTPS_PROXY and its login")
    if isinstance(error, InvalidURL | UnsupportedProtocol):
        return Problem("the hub's address is wrong", "check HF_ENDPOINT and HTTPS_PROXY")
    if isinstance(error, TimeoutException):
        return Problem("the hub cannot be reached", f"it was too slow; {_TRY_AGAIN}. {_NETWORK}")
    return Problem("the hub cannot be reached", _NETWORK)

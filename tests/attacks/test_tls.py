# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests remote URLs over TLS: certificates must match and be trusted; http redirects are errors."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import trustme

from app.errors import BadRequest, RemoteFailed, TooSlow
from tests.attacks.hosts import Host
from tests.attacks.remote import PUBLIC, fetched, fetcher, names
from tests.services import PHOTO


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Host]:
    """Run a host with a certificate for good.example, whose authority ``requests`` trusts here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("good.example").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(bundle))
    with Host(PUBLIC, tls=context).running() as host:
        yield host


def test_tls_with_the_name_of_the_url(secure: Host) -> None:
    resolver = names({"good.example": [[PUBLIC]], "bad.example": [[PUBLIC]]})
    found = fetched(fetcher(resolver=resolver), f"https://good.example:{secure.port}/image")
    assert found == PHOTO
    with pytest.raises(RemoteFailed):
        fetched(fetcher(resolver=resolver), f"https://bad.example:{secure.port}/image")


@pytest.mark.parametrize("path", ["silent", "drip", "headers"])
def test_the_deadline_holds_under_tls_too(secure: Host, path: str) -> None:
    resolver = names({"good.example": [[PUBLIC]]})
    started = time.monotonic()
    with pytest.raises(TooSlow):
        fetched(fetcher(resolver=resolver), f"https://good.example:{secure.port}/{path}")
    assert time.monotonic() - started < 20


def test_no_way_back_to_http(secure: Host, public: Host) -> None:
    resolver = names({"good.example": [[PUBLIC]]})
    target = f"http://{PUBLIC}:{public.port}/image"
    with pytest.raises(BadRequest, match="https to http"):
        fetched(
            fetcher(resolver=resolver), f"https://good.example:{secure.port}/redirect?to={target}"
        )


def test_a_certificate_that_nobody_vouches_for(
    secure: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(other))
    with pytest.raises(RemoteFailed):
        fetched(
            fetcher(resolver=names({"good.example": [[PUBLIC]]})),
            f"https://good.example:{secure.port}/image",
        )

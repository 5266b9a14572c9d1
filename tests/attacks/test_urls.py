# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests remote URLs that lead into the private network, deliver too much, or never end.

127.0.0.1/32 is allowed here and stands for the public internet; 127.0.0.2 stands for the private
network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from app.errors import BadRequest, RemoteFailed, TooLarge, TooSlow, TwinlensError
from app.remote.addresses import is_allowed
from benchmarks.service import Service
from tests.attacks.hosts import Host
from tests.attacks.remote import INSIDE, PUBLIC, fetched, fetcher, names
from tests.contract import check
from tests.services import PHOTO


@pytest.fixture
def inside(public: Host) -> Iterator[Host]:
    """Run a host on the address that must not be reached, with the same port as ``public``."""
    with Host(INSIDE, public.port).running() as host:
        yield host
        assert host.paths == [], "something inside was asked"


def test_an_image_is_fetched_whatever_its_type_says(public: Host) -> None:
    assert fetched(fetcher(), f"http://{PUBLIC}:{public.port}/image") == PHOTO


def test_off_is_off(public: Host) -> None:
    with pytest.raises(BadRequest, match="ALLOW_REMOTE_IMAGE_URLS"):
        fetched(fetcher(enabled=False), f"http://{PUBLIC}:{public.port}/image")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/a.png",
        "gopher://example.org/",
        "data:image/png;base64,AAAA",
        "//example.org/a.png",
        "http:///a.png",
        "http://",
        "",
        "http://user:secret@example.org/a.png",
        "http://user@example.org/a.png",
        "http://example.org:99999/a.png",
        "http://[::1",
        "http://exa mple.org/",
        "http://example.org\\@127.0.0.2/",
        "http://example.org/a\r\nHost: b",
    ],
)
def test_urls_that_are_refused_unseen(url: str) -> None:
    with pytest.raises(BadRequest, match="refused"):
        fetched(fetcher(resolver=names({})), url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.2",
        "localhost.localdomain",
        "10.0.0.1",
        "172.16.5.5",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "2130706434",
        "0x7f000002",
        "127.2",
        "0177.0.0.2",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.2]",
        "[::ffff:a00:1]",
        "[::127.0.0.2]",
        "[64:ff9b::a00:1]",
        "[2002:a00:1::]",
        "[2001:0:a00:1::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
    ],
)
def test_addresses_that_lead_inside(host: str, public: Host, inside: Host) -> None:
    resolver = {"resolver": names({host: [[INSIDE]]})} if "localhost" in host else {}
    with pytest.raises(TwinlensError) as error:
        fetched(fetcher(**resolver), f"http://{host}:{public.port}/image")
    assert error.value.status == 400 or (host[0] in "0" and error.value.status == 502)


@pytest.mark.parametrize("text", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "1.1.1.1"])
def test_public_addresses_are_allowed(text: str) -> None:
    assert is_allowed(text, ())


def test_one_address_inside_among_public_ones_is_enough(public: Host, inside: Host) -> None:
    resolver = names({"mixed.example": [[PUBLIC, INSIDE]]})
    with pytest.raises(BadRequest, match="not public"):
        fetched(fetcher(resolver=resolver), f"http://mixed.example:{public.port}/image")


def test_a_name_that_changes_its_mind(public: Host, inside: Host) -> None:
    """DNS rebinding fails, because a name is resolved only once, for both check and connection."""
    rebind = {"rebind.example": [[PUBLIC], [INSIDE]]}
    found = fetched(fetcher(resolver=names(rebind)), f"http://rebind.example:{public.port}/image")
    assert found == PHOTO
    assert public.headers[-1]["Host"] == f"rebind.example:{public.port}"
    with pytest.raises(BadRequest, match="not public"):
        fetched(fetcher(resolver=names(rebind)), f"http://rebind.example:{public.port}/image")


def test_redirects_are_judged_again(public: Host, inside: Host) -> None:
    base = f"http://{PUBLIC}:{public.port}"
    for target in (f"http://{INSIDE}:{public.port}/image", "file:///etc/passwd", "http://u:p@x/"):
        with pytest.raises(BadRequest, match="refused"):
            fetched(fetcher(), f"{base}/redirect?to={target}")
    assert fetched(fetcher(), f"{base}/redirect?to=/image") == PHOTO
    rebind = names({"a.example": [[PUBLIC], [INSIDE]]})
    with pytest.raises(BadRequest, match="not public"):
        fetched(fetcher(resolver=rebind), f"http://a.example:{public.port}/redirect?to=/image")


def test_at_most_three_redirects(public: Host) -> None:
    base = f"http://{PUBLIC}:{public.port}"
    three = f"{base}/redirect?to=/redirect?to=/redirect?to=/image"
    assert fetched(fetcher(), three) == PHOTO
    with pytest.raises(BadRequest, match="more than 3 times"):
        fetched(fetcher(), f"{base}/again")


def test_only_the_hosts_that_are_named(public: Host) -> None:
    table = {
        name: [[PUBLIC]] for name in ("a.example", "b.c.example", "c.example", "evilc.example")
    }
    limited = fetcher(resolver=names(table), hosts=("A.example", "*.c.example"))
    for name, allowed in zip(table, (True, True, False, False), strict=True):
        url = f"http://{name}:{public.port}/image"
        if allowed:
            assert fetched(limited, url) == PHOTO
        else:
            with pytest.raises(BadRequest, match="ALLOWED_REMOTE_IMAGE_HOSTS"):
                fetched(limited, url)


@pytest.mark.parametrize("path", ["endless", "bomb"])
def test_more_bytes_than_the_budget(public: Host, path: str) -> None:
    with pytest.raises(TooLarge, match="MAX_IMAGE_BYTES"):
        fetched(fetcher(seconds=20), f"http://{PUBLIC}:{public.port}/{path}")


@pytest.mark.parametrize("path", ["broken", "html", "short"])
def test_a_host_that_fails(public: Host, path: str) -> None:
    with pytest.raises(RemoteFailed):
        fetched(fetcher(seconds=5), f"http://{PUBLIC}:{public.port}/{path}")


def test_a_host_that_is_not_there() -> None:
    with pytest.raises(RemoteFailed):
        fetched(fetcher(), f"http://{PUBLIC}:9/image")
    with pytest.raises(RemoteFailed, match="cannot be resolved"):
        fetcher(resolver=lambda *_: (_ for _ in ()).throw(OSError)).fetch("http://no.example/")


@pytest.mark.parametrize("path", ["silent", "drip", "headers"])
def test_one_deadline_for_everything(public: Host, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(TooSlow, match="REQUEST_TIMEOUT_SECONDS"):
        fetched(fetcher(), f"http://{PUBLIC}:{public.port}/{path}")
    assert time.monotonic() - started < 20


def test_a_name_server_that_is_silent() -> None:
    def silent(*_: object) -> list[str]:
        time.sleep(3)
        return []

    with pytest.raises(TooSlow):
        fetched(fetcher(resolver=silent), "http://slow.example/")


def test_nothing_comes_from_the_environment(
    public: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {PUBLIC} login me password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    fetched(fetcher(), f"http://{PUBLIC}:{public.port}/image")
    assert "Authorization" not in public.headers[-1]


@pytest.fixture(scope="module")
def remote(start: Callable[..., Service], hub: Path) -> Service:
    return start(
        HF_HUB_CACHE=hub,
        ALLOW_REMOTE_IMAGE_URLS="true",
        ALLOWED_PRIVATE_NETWORKS=f"{PUBLIC}/32",
        REQUEST_TIMEOUT_SECONDS=1,
        ENABLED_FAMILIES="embedding",
    )


def test_the_whole_way_through_the_service(remote: Service, public: Host, inside: Host) -> None:
    def embed(url: str) -> requests.Response:
        return remote.post("/embed-image", json={"image_url": url, "image_size": 512})

    base = f"http://{PUBLIC}:{public.port}"
    body = check.json(embed(f"{base}/image"))
    assert (body["dims"], body["image_size"]) == (768, 512)
    check.error(embed(f"http://{INSIDE}:{public.port}/image"), 400, "URL refused")
    check.error(embed(f"{base}/broken"), 502)
    check.error(embed(f"{base}/lies"), 400, "Invalid image")
    check.error(embed(f"{base}/endless"), 413)
    check.error(embed(f"{base}/drip"), 504)
    items = [{"image_url": f"{base}/{path}"} for path in ("image", "broken", "image")]
    batch = check.json(remote.post("/embed-batch", json={"items": items}))
    assert [result["status"] for result in batch["results"]] == ["ok", "error", "ok"]

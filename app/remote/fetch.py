# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Fetches remote images, from public addresses only, within a time limit and a byte limit.

For the URL and each redirect the host name is resolved once, all its addresses are checked, and the
connection uses one of them. requests-hardened connects to that address and still uses the host name
for SNI, the Host header and the certificate. Therefore an attack with a name that resolves
differently a moment later (DNS rebinding) fails.
"""

from __future__ import annotations

import fnmatch
import socket
import tempfile
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, cast
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import requests_hardened.ip_filter_adapter as hardened
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from app.errors import BadRequest, NoResources, RemoteFailed, TooLarge
from app.remote.addresses import is_allowed, networks
from app.remote.deadline import Deadline
from config.settings import Settings

MAX_REDIRECTS = 3
#: Characters of the longest accepted URL. A longer one is not even parsed, because urllib keeps the
#: URLs that it has parsed.
MAX_URL_LENGTH = 8192
_SPOOL_BYTES = 2**20
_REDIRECTS = (301, 302, 303, 307, 308)
_ALWAYS_TEXT = ("text/", "application/json", "application/xml")

Resolver = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """All IP addresses of a host name, as text. Raises OSError.

    Tests give ``Fetcher`` another function instead.
    """
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


class Fetcher:
    """Fetches images within the limits that the operator has set.

    Args:
        enabled: False refuses all URLs (ALLOW_REMOTE_IMAGE_URLS).
        hosts: allowed host names; ``*.example.org`` allows all names below; empty: any host.
        private_networks: CIDRs that are allowed although they are not public.
        max_bytes: largest image.
        seconds: limit for one whole fetch.
        resolver: returns the IP addresses of a host name and port.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        hosts: tuple[str, ...],
        private_networks: tuple[str, ...],
        max_bytes: int,
        seconds: float,
        resolver: Resolver = resolve,
    ) -> None:
        self._enabled = enabled
        self._hosts = hosts
        self._private = networks(private_networks)
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._resolver = resolver

    @classmethod
    def from_settings(cls, settings: Settings) -> Fetcher:
        """A fetcher within the limits of the settings."""
        return cls(
            enabled=settings.allow_remote_image_urls,
            hosts=settings.allowed_remote_image_hosts,
            private_networks=settings.allowed_private_networks,
            max_bytes=settings.max_image_bytes,
            seconds=settings.request_timeout_seconds,
        )

    def fetch(
        self,
        url: str,
        *,
        check_cancelled: Callable[[], None] = lambda: None,
        hold: Callable[[int], None] = lambda _: None,
    ) -> BinaryIO:
        """Fetch a URL and return its bytes as a file, which is on disk if it has more than 1 MiB.

        Args:
            url: the URL as the client sent it.
            check_cancelled: raises a TwinlensError if the client no longer waits, see ``Deadline``.
            hold: called with the number of bytes of each piece that arrives; raises Busy if the
                service holds too many bytes.

        Raises:
            BadRequest: the URL or its address is not allowed; nothing was sent to that address.
            Busy: see ``hold``.
            NoResources: the disk is full, or memory or file descriptors ran out.
            RemoteFailed: the host cannot be reached, or its response is unusable.
            TooLarge: the image has more than ``max_bytes``.
            TooSlow: the fetch took longer than its time limit.
        """
        if not self._enabled:
            raise BadRequest(
                "Remote image URLs are turned off (ALLOW_REMOTE_IMAGE_URLS); "
                "send the image as image_base64",
                title="URL refused",
            )
        with Deadline(self._seconds, check_cancelled) as deadline:
            try:
                return self._follow(url, deadline, hold)
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                # At the deadline the socket is shut, which can cause any of these errors.
                deadline.check()
                if no_resources := NoResources.from_error(error):
                    raise no_resources from error
                raise RemoteFailed("The image host could not be reached or broke off") from error

    def _follow(self, url: str, deadline: Deadline, hold: Callable[[int], None]) -> BinaryIO:
        for _ in range(MAX_REDIRECTS + 1):
            target = self._check_url(url)
            with _Session(self._pin(deadline), deadline) as session:
                response = session.get(
                    url, stream=True, allow_redirects=False, timeout=deadline.left()
                )
                deadline.check()
                if response.status_code not in _REDIRECTS:
                    return self._read(response, deadline, hold)
                location = response.headers.get("Location", "")
                check_length(len(location))
                url = urljoin(url, location)
            if target.scheme == "https" and urlsplit(url).scheme == "http":
                raise _refused("it redirects from https to http")
        raise _refused(f"it redirects more than {MAX_REDIRECTS} times")

    def _check_url(self, url: str) -> SplitResult:
        """Parse a URL and check all that needs no name resolution. Raises BadRequest."""
        check_length(len(url))
        try:
            url.encode()  # fails if it contains a lone surrogate
            target = urlsplit(url)
            host, _ = target.hostname, target.port
        except ValueError:
            raise _refused("it is not a valid URL") from None
        if target.scheme not in ("http", "https") or not host:
            raise _refused("only http and https addresses with a host are fetched")
        if target.username is not None or target.password is not None:
            raise _refused("it has credentials in it")
        if any(character.isspace() or ord(character) < 32 for character in url) or "\\" in url:
            raise _refused("it has white space or a backslash in it")
        if self._hosts and not any(_matches(host, allowed) for allowed in self._hosts):
            raise _refused("its host is not among ALLOWED_REMOTE_IMAGE_HOSTS")
        return target

    def _pin(self, deadline: Deadline) -> Callable[[str, int | None], str]:
        """A function for requests-hardened that returns the checked address for host and port."""

        def pin(host: str, port: int | None) -> str:
            try:
                addresses = deadline.run(lambda: self._resolver(host.strip("[]"), port or 0))
            except (OSError, UnicodeError):
                deadline.check()
                raise RemoteFailed("The host name of the image cannot be resolved") from None
            if not addresses or not all(is_allowed(each, self._private) for each in addresses):
                raise _refused("its host has an address that is not public")
            return f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]

        return pin

    def _read(
        self, response: requests.Response, deadline: Deadline, hold: Callable[[int], None]
    ) -> BinaryIO:
        if response.status_code != 200:
            raise RemoteFailed(f"The image host answered {response.status_code}")
        kind = response.headers.get("Content-Type", "").lower()
        if kind.startswith(_ALWAYS_TEXT):
            raise RemoteFailed("The image host sent a text, not an image")
        content = cast(BinaryIO, tempfile.SpooledTemporaryFile(_SPOOL_BYTES))  # noqa: SIM115
        # Bytes are counted after decompression: a small compressed response may be a large image.
        try:
            while data := response.raw.read1(65536, decode_content=True):
                deadline.check()
                if content.tell() + len(data) > self._max_bytes:
                    raise TooLarge(
                        f"The remote image has more than {self._max_bytes} bytes (MAX_IMAGE_BYTES)",
                        code="image_too_large",
                    )
                hold(len(data))
                content.write(data)
            deadline.check()
        except BaseException:
            content.close()
            raise
        content.seek(0)
        return content


def _refused(reason: str) -> BadRequest:
    return BadRequest(f"The image URL is refused: {reason}", title="URL refused")


def check_length(length: int) -> None:
    """Check the length of a URL in characters. Raises BadRequest."""
    if length > MAX_URL_LENGTH:
        raise _refused(
            f"it has {length} characters; at most {MAX_URL_LENGTH} are accepted; "
            "an image itself goes into image_base64"
        )


def _matches(host: str, allowed: str) -> bool:
    """Whether ``allowed`` is this host name. ``*.example.org`` matches names below example.org."""
    host, allowed = host.lower().rstrip("."), allowed.lower().rstrip(".")
    return fnmatch.fnmatchcase(host, allowed) if allowed.startswith("*.") else host == allowed


class _Session(requests.Session):
    """Ignores proxies and .netrc of the environment, so that no setting bypasses the checks."""

    def __init__(self, pin: Callable[[str, int | None], str], deadline: Deadline) -> None:
        super().__init__()
        self.trust_env = False
        self.headers["Accept"] = "image/*"
        self.headers["User-Agent"] = "Twinlens"
        for scheme in ("http", "https"):
            self.mount(f"{scheme}://", _Adapter(scheme == "https", pin, deadline))


class _Adapter(hardened.IPFilterAdapter):  # type: ignore[misc] # it ships no types
    """requests-hardened's adapter with our address check and sockets that the deadline shuts."""

    def __init__(
        self, https: bool, pin: Callable[[str, int | None], str], deadline: Deadline
    ) -> None:
        self._pin = pin
        self._deadline = deadline
        super().__init__(is_https_proto=https)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Let the deadline watch every new socket; see requests.adapters.HTTPAdapter."""
        super().init_poolmanager(*arguments, **options)
        watch = self._deadline.watch

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                connection = super()._new_conn()
                watch(connection)
                return connection

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                connection = super()._new_conn()
                watch(connection)  # during the TLS handshake
                return connection

            def connect(self) -> None:
                super().connect()
                if self.sock is not None:  # the TLS socket, which has replaced the plain one
                    watch(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

    def build_connection_pool_key_attributes(self, *arguments: Any, **options: Any) -> Any:
        """Use our address check in place of requests-hardened's own rule."""
        _pins.pin = self._pin
        try:
            return super().build_connection_pool_key_attributes(*arguments, **options)
        finally:
            del _pins.pin


# requests-hardened checks only the first address of a host, and cannot allow private networks other
# than loopback. Therefore its function ``filter_host``, which decides, is replaced by one that
# calls the ``pin`` of the current thread's adapter. The version of requests-hardened is fixed, and
# tests fail if a new version no longer calls this function.
_pins = threading.local()


def _filter_host(hostname: str, port: int | None, *, allow_loopback: bool) -> str:  # noqa: ARG001
    address: str = _pins.pin(hostname, port)
    return address


hardened.filter_host = _filter_host

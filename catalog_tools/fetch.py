"""Fetches pictures that are named by an address, and nothing that its server keeps for itself.

An address that somebody sends may lead to what only this machine can reach: a router's page, a
cloud's secrets. So a host's addresses are checked after they are resolved, and the connection goes
to the address that was checked: no second look-up can give another. Each redirect begins anew.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import httpcore

from catalog_tools.fetch_options import FetchOptions
from catalog_tools.public_addresses import is_allowed, resolve_host
from catalog_tools.reading import PictureError
from catalog_tools.s3_pictures import read_from_bucket

SCHEMES = ("https://", "http://", "s3://")
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_ADDRESS_CHARACTERS = 4000
_STATUSES = {
    401: "its server wants a login",
    403: "its server refuses it",
    404: "its server has no such file",
    410: "its server has no such file any more",
}
Resolve = Callable[[str, int, float], list[str]]


class FetchError(PictureError):
    """A picture cannot be fetched; the text is the reason, without the address."""


def is_address(name: str) -> bool:
    """Say whether the name of a picture is an address to fetch it from."""
    return name.lower().startswith(SCHEMES)


class Fetcher:
    """Fetches pictures within limits; any thread may call."""

    def __init__(
        self,
        options: FetchOptions,
        resolve: Resolve = resolve_host,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._options = options
        self._resolve = resolve
        self._ssl_context = ssl_context

    def fetch(self, address: str) -> bytes:
        """Return the file at an address; FetchError says why there is none."""
        options = self._options
        deadline_s = time.monotonic() + options.timeout_s
        if address.lower().startswith("s3://"):
            try:
                return read_from_bucket(address, options, deadline_s)
            except PictureError as error:
                raise FetchError(str(error)) from None
        for _ in range(options.redirects + 1):
            parts = self._check(address)
            content = self._get(parts, deadline_s)
            if isinstance(content, bytes):
                return content
            try:
                address = urljoin(parts.geturl(), content)
            except ValueError:
                raise FetchError("is redirected to what is no address") from None
            if not address.lower().startswith(("https://", "http://")):
                raise FetchError("is redirected to what is no web address")
        raise FetchError(f"is redirected more than {options.redirects} times")

    def _check(self, address: str) -> SplitResult:
        """Return the parts of an address whose form is allowed."""
        wanted = "https:// or http://" if self._options.http else "https://"
        if not address.isprintable() or " " in address or len(address) > _MAX_ADDRESS_CHARACTERS:
            raise FetchError("is no address")
        try:
            parts = urlsplit(address)
            _ = parts.port  # ValueError when it is none
            host = parts.hostname
            (host or "").encode("idna")
        except ValueError:
            raise FetchError("is no address") from None
        if parts.scheme not in ("https", *(("http",) if self._options.http else ())):
            raise FetchError(f"must begin with {wanted}")
        if not host or "\\" in address:
            raise FetchError("names no host")
        if "@" in parts.netloc:
            raise FetchError("holds a login, which an address may not")
        return parts

    def _get(self, parts: SplitResult, deadline_s: float) -> bytes | str:
        """Return what is there, or the address that it is redirected to."""
        backend = _CheckedBackend(self._options, self._resolve, deadline_s)
        context = self._ssl_context
        if context is None and parts.scheme == "https":
            context = self._ssl_context = ssl.create_default_context()
        headers = {"User-Agent": "magpie", "Accept": "image/*", "Accept-Encoding": "identity"}
        host = str(parts.hostname).encode("idna").decode()
        host = f"[{host}]" if ":" in host else host
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = f":{parts.port}" if parts.port is not None else ""
        url = f"{parts.scheme}://{host}{port}{_ascii(target)}"
        try:
            with (
                httpcore.ConnectionPool(
                    ssl_context=context, network_backend=backend, max_connections=1
                ) as pool,
                pool.stream("GET", url, headers=headers) as response,
            ):
                return self._read(response)
        except (httpcore.TimeoutException, TimeoutError):
            raise FetchError(f"took longer than {self._options.timeout_s:g} s") from None
        except httpcore.ConnectError as error:
            reason = "can't be reached"
            if "CERTIFICATE" in str(error).upper():
                reason = "has a certificate that is not its server's"
            raise FetchError(reason) from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            raise FetchError("broke off, or is no web server's answer") from None

    def _read(self, response: httpcore.Response) -> bytes | str:
        headers = {name.lower().decode("latin-1"): value for name, value in response.headers}
        if response.status in _REDIRECTS and "location" in headers:
            return headers["location"].decode("utf-8", "replace")
        if response.status != 200:
            reason = _STATUSES.get(response.status, "can't be had")
            raise FetchError(f"{reason} (HTTP {response.status})")
        if headers.get("content-encoding", b"identity").lower() != b"identity":
            raise FetchError("is sent compressed, which was not asked for")
        limit_bytes = self._options.max_bytes
        told = headers.get("content-length", b"")
        if told.isdigit() and int(told) > limit_bytes:
            raise _too_large(limit_bytes)
        content = bytearray()
        for chunk in response.iter_stream():
            content += chunk
            if len(content) > limit_bytes:
                raise _too_large(limit_bytes)
        if not content:
            raise FetchError("is empty")
        return bytes(content)


def _too_large(limit_bytes: int) -> FetchError:
    return FetchError(f"has more than {limit_bytes / 1e6:g} MB")


def _ascii(target: str) -> str:
    """Return a path and query with what is not ASCII escaped, as browsers do."""
    return "".join(
        c if c.isascii() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in target
    )


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that are allowed, and to none that was not checked."""

    def __init__(self, options: FetchOptions, resolve: Resolve, deadline_s: float) -> None:
        self._networks = options.networks
        self._resolve = resolve
        self._deadline_s = deadline_s
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = self._resolve(host, port, _left_s(self._deadline_s))
        except TimeoutError:
            raise
        except OSError:
            raise FetchError("names a host that can't be found") from None
        # All of them: a name that has one of each would lead outside now and inside the next time.
        if not found or not all(is_allowed(address, self._networks) for address in found):
            raise FetchError(
                "leads to an address that is not public; its network may be listed in "
                "query.fetch.networks"
            )
        error: Exception | None = None
        for address in found:
            try:
                stream = self._plain.connect_tcp(
                    address, port, _left_s(self._deadline_s), local_address, socket_options
                )
                return _TimedStream(stream, self._deadline_s)
            except httpcore.ConnectError as refused:
                error = refused
        raise error or httpcore.ConnectError("no address")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise FetchError("is no web address")


@dataclass(frozen=True, slots=True)
class _TimedStream(httpcore.NetworkStream):
    """A connection that is over at a moment, however slowly its bytes drip."""

    stream: httpcore.NetworkStream
    deadline_s: float

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, _left_s(self.deadline_s))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, _left_s(self.deadline_s))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secure = self.stream.start_tls(ssl_context, server_hostname, _left_s(self.deadline_s))
        return _TimedStream(secure, self.deadline_s)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise httpcore.ReadTimeout("over")
    return left_s

"""What every request passes before any route: where it comes from, by which name, how large it is.

Pure ASGI, outermost. It believes X-Forwarded-* from listed proxies only, takes the base path off,
refuses foreign Host names (DNS rebinding) and bodies that are too large or too slow, and puts the
headers of security on every answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamer.web.options import WebOptions, parse_address
from streamer.web.problems import REFUSED, Refusal

BODY_WITHIN_S = 30.0  # between two pieces of a body
JSON_MAX_BYTES = 1 * 2**20
_LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, as far as it can be believed. authority: HOST[:PORT] that was asked for.

    is_forwarded: a proxy that is not listed passed it on.
    """

    address: str
    authority: str
    is_secure: bool
    is_forwarded: bool


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, options: WebOptions) -> None:
        self._app = app
        self._options = options
        self._networks = tuple(ipaddress.ip_network(text) for text in options.trusted_proxies)
        self._hosts = _hosts_of(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        try:
            self._look_at(scope)
            receive = self._limited(scope, receive)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _look_at(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        peer = self._peer(scope, headers)
        scope["magpie.peer"] = peer
        if peer.is_secure:
            scope["scheme"] = "https"
        name = _name_of(peer.authority)
        if self._hosts and name not in self._hosts:
            remedy = "list it in web.allowed_hosts, if it is this machine's"
            raise Refusal(421, "Host", "not a name of this server", name, remedy)
        base = self._options.base_path
        if base and (scope["path"] == base or scope["path"].startswith(f"{base}/")):
            scope["path"] = scope["path"][len(base) :] or "/"
            scope["raw_path"] = scope["path"].encode()

    def _peer(self, scope: Scope, headers: Headers) -> Peer:
        address = scope["client"][0] if scope.get("client") else ""
        authority = headers.get("host", "")
        is_secure = scope.get("scheme") == "https"
        is_forwarded = any(name in headers for name in _FORWARDED)
        if not is_forwarded or not self._is_trusted(address):
            return Peer(address, authority, is_secure, is_forwarded)
        chain = [part.strip() for part in headers.get("x-forwarded-for", "").split(",") if part]
        while chain and self._is_trusted(address):
            address = chain.pop()  # the last that no listed proxy has said
        authority = headers.get("x-forwarded-host", authority).split(",")[0].strip()
        scheme = headers.get("x-forwarded-proto", "").split(",")[0].strip()
        return Peer(address, authority, scheme == "https" or (not scheme and is_secure), False)

    def _is_trusted(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Return `receive` that refuses a body that is too large or too slow."""
        headers = Headers(scope=scope)
        is_upload = headers.get("content-type", "").startswith("multipart/form-data")
        most_bytes = self._options.body_max_mb * 2**20 if is_upload else JSON_MAX_BYTES
        told = headers.get("content-length", "0")
        if not told.isascii() or not told.isdigit():
            raise Refusal(400, "Content-Length", "must be a number", told)
        if int(told) > most_bytes:
            raise _too_large(most_bytes)
        n_bytes, is_whole = 0, False

        def refuse(refusal: Refusal) -> Refusal:
            scope[REFUSED] = refusal  # who reads a body takes every error for one of its form
            return refusal

        async def limited() -> Message:
            nonlocal n_bytes, is_whole
            if is_whole:  # from here on it waits for the client to go
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), BODY_WITHIN_S)
            except TimeoutError:
                rule = f"a part of it must come every {BODY_WITHIN_S:g} s"
                raise refuse(Refusal(408, "body", rule)) from None
            n_bytes += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if n_bytes > most_bytes:
                raise refuse(_too_large(most_bytes))
            return message

        return limited


def peer_of(scope: Any) -> Peer:
    """Return what the gate found out about a request's sender."""
    peer: Peer = scope["magpie.peer"]
    return peer


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(413, "body", f"at most {most_bytes} bytes", remedy="send less at once")


def _hosts_of(options: WebOptions) -> frozenset[str]:
    """Return the names by which the server may be called; none: by any."""
    address = parse_address(options.address)
    if not address.is_local and not options.allowed_hosts:
        return frozenset()
    own = {address.host} if address.host else set()
    named = {name.lower().strip("[]") for name in options.allowed_hosts}
    return frozenset(named | own | _LOCAL_NAMES)


def _name_of(authority: str) -> str:
    """Return an authority's host, in small letters and without port and brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].rstrip(".").lower()


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending

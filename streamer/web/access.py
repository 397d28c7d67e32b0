"""Who asks, and what a caller may: every route names its rule by one of the types below.

A route without a rule fails a test, so that nothing new is open by mistake.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from streamer.web.context import WebContext, context_of
from streamer.web.gate import Peer, peer_of
from streamer.web.key_file import SCOPES_OF_ROLE, KeyEntry, Scope, UserEntry
from streamer.web.problems import Refusal
from streamer.web.sessions import COOKIE

_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_HOW = "send Authorization: Bearer KEY (`magpie keys add`), or log in"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. cameras: those that it may see, None: all. entry: the key's or user's name."""

    kind: Literal["open", "key", "user"]
    name: str
    scopes: frozenset[Scope]
    cameras: frozenset[str] | None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def may_see(self, camera: str | None) -> bool:
        """Whether it may know of a camera; None: of what belongs to no camera."""
        return self.cameras is None or camera in self.cameras

    def require_camera(self, camera: str) -> None:
        """Raise a Refusal unless it may see this camera."""
        if not self.may_see(camera):
            raise Refusal(403, "camera", "this key may not see it", camera, "use another key")


def may(scope: Scope | None) -> Callable[[Request], Caller]:
    """Return the dependency that admits callers with a scope, and gives the caller.

    scope: None admits all that hold a key or a session.
    """

    def admit(request: Request) -> Caller:
        caller = who(request)
        if scope is not None and not caller.may(scope):
            rule = f"needs the scope {scope}"
            raise Refusal(403, "key", rule, ", ".join(sorted(caller.scopes)), "use another key")
        return caller

    admit.rule = scope or "known"  # type: ignore[attr-defined]  # what the test of all routes looks for
    return admit


def anyone(request: Request) -> None:
    """The rule of what needs no key: health, the document of the API, logging in."""
    check_origin(request, context_of(request), is_cookie=False)


anyone.rule = "anyone"  # type: ignore[attr-defined]

Anyone = Depends(anyone)
Reader = Annotated[Caller, Depends(may(Scope.READ))]
Searcher = Annotated[Caller, Depends(may(Scope.SEARCH))]
Writer = Annotated[Caller, Depends(may(Scope.WRITE))]
Admin = Annotated[Caller, Depends(may(Scope.ADMIN))]
Scraper = Annotated[Caller, Depends(may(Scope.METRICS))]


def rule_of(route: APIRoute) -> str | None:
    """Return what a route asks of its callers: a scope, "known" or "anyone"; None: nothing."""
    rules = [getattr(each.call, "rule", None) for each in route.dependant.dependencies]
    named = [str(rule) for rule in rules if rule is not None]
    return named[0] if len(named) == 1 else None


def who(request: Request) -> Caller:
    """Return who asks; raises a Refusal for a wrong key, or for none where one is needed."""
    context, peer = context_of(request), peer_of(request.scope)
    shown = request.headers.get("authorization")
    if shown is not None:
        return _by_key(context, peer, shown)
    caller = _by_session(context, request)
    check_origin(request, context, is_cookie=caller is not None)
    if caller is not None:
        return caller
    if context.options.is_open:
        if peer.is_forwarded:
            remedy = "list it in web.trusted_proxies, and make a key"
            raise Refusal(
                403, "proxy", "this request came through one that is not listed", remedy=remedy
            )
        return Caller("open", "open", frozenset(Scope), None)
    raise _unknown()


def _by_key(context: WebContext, peer: Peer, shown: str) -> Caller:
    kind, _, text = shown.partition(" ")
    entry = context.keys.find(text.strip()) if kind.lower() == "bearer" else None
    if entry is None:
        refuse_if_slowed(context, peer)
        context.slowing.note_failure(peer.address)
        raise _unknown("not a key that holds")
    context.keys.touch(entry)
    return caller_of(entry)


def _by_session(context: WebContext, request: Request) -> Caller | None:
    cookie = request.cookies.get(COOKIE)
    session = context.sessions.find(cookie) if cookie else None
    if session is None:
        return None
    find = context.keys.user if session.kind == "user" else context.keys.key
    entry = find(session.name)  # it may have been revoked meanwhile
    return None if entry is None else caller_of(entry)


def caller_of(entry: KeyEntry | UserEntry) -> Caller:
    """Return what an entry of the file lets its holder do."""
    cameras = None if entry.cameras is None else frozenset(entry.cameras)
    if isinstance(entry, UserEntry):
        return Caller("user", entry.name, SCOPES_OF_ROLE[entry.role], cameras)
    return Caller("key", entry.name, entry.scopes, cameras)


def refuse_if_slowed(context: WebContext, peer: Peer) -> None:
    """Raise a Refusal while an address has to wait after failures."""
    wait_s = context.slowing.wait_s(peer.address)
    if wait_s > 0:
        headers = {"Retry-After": str(math.ceil(wait_s))}
        raise Refusal(429, "address", "too many wrong keys or passwords from it", headers=headers)


def check_origin(request: Request, context: WebContext, is_cookie: bool) -> None:
    """Raise a Refusal when another site's page makes the browser change something here."""
    if request.method in _SAFE_METHODS:
        return
    origin = request.headers.get("origin")
    if origin is None:
        if is_cookie or request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Refusal(403, "Origin", "needed where a cookie or another site asks")
        return
    if origin in context.options.cors_origins:
        return
    authority = peer_of(request.scope).authority
    if _without_port(origin.partition("://")[2]) != _without_port(authority):
        raise Refusal(403, "Origin", "must be this server's", origin, "list it: web.cors_origins")


def _without_port(authority: str) -> str:
    """Return an authority without the port that its scheme implies."""
    return authority.lower().removesuffix(":80").removesuffix(":443")


def _unknown(rule: str = "a key or a session is needed") -> Refusal:
    return Refusal(401, "key", rule, remedy=_HOW, headers={"WWW-Authenticate": "Bearer"})

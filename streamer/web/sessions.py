"""Who is logged in on the page. In memory only: a server that starts anew asks again."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

COOKIE = "magpie_session"
IDLE_S = 12 * 3600.0
LONGEST_S = 7 * 24 * 3600.0
_SESSIONS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """kind, name: of a user, or the id of the key that was shown."""

    kind: Literal["user", "key"]
    name: str
    began_s: float


class Sessions:
    """Sessions by the hash of their cookie, bounded; threads may share them."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, tuple[Session, float]] = OrderedDict()  # used last

    def begin(self, kind: Literal["user", "key"], name: str) -> str:
        """Return the cookie of a new session."""
        cookie = secrets.token_urlsafe(32)
        now_s = self._now_s()
        with self._lock:
            self._sessions[_hash(cookie)] = (Session(kind, name, now_s), now_s)
            if len(self._sessions) > _SESSIONS_MAX:
                self._sessions.popitem(last=False)
        return cookie

    def find(self, cookie: str) -> Session | None:
        """Return the session of a cookie, None when there is none or it is over."""
        now_s = self._now_s()
        with self._lock:
            session, seen_s = self._sessions.pop(_hash(cookie), (None, 0.0))
            if session is None:
                return None
            if now_s - seen_s > IDLE_S or now_s - session.began_s > LONGEST_S:
                return None
            self._sessions[_hash(cookie)] = (session, now_s)
            return session

    def end(self, cookie: str) -> None:
        """Forget a session."""
        with self._lock:
            self._sessions.pop(_hash(cookie), None)


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()

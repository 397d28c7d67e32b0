"""Keys and passwords: made, hashed, checked. The file that keeps them: key_file.py."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from streamer.web.key_file import (
    KeyEntry,
    KeyFile,
    Role,
    Scope,
    UserEntry,
    change_key_file,
    read_key_file,
)

_Any = TypeVar("_Any", KeyEntry, UserEntry)

PREFIX = "mgp_"
TOUCH_EVERY_S = 60.0
_N, _R, _P = 2**14, 8, 1  # scrypt: 16 MB and some 50 ms a try


class Keys:
    """The keys and users of a running server: what the file holds now, read when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._guess_lock = threading.Lock()  # one password at a time: each takes memory
        self._seen: tuple[int, int, int] | None = None
        self._file = KeyFile()
        self._touched_at_s: dict[str, float] = {}

    def find(self, text: str) -> KeyEntry | None:
        """Return the key that a caller has shown; None when there is none such, or it is over."""
        key_id, _, secret = text.removeprefix(PREFIX).partition("_")
        found = next((key for key in self.now().keys if key.id == key_id), None)
        known = found.sha256 if found is not None else ""
        is_right = hmac.compare_digest(_sha256(secret), known)
        if found is None or not is_right or is_over(found):
            return None
        return found

    def key(self, key_id: str) -> KeyEntry | None:
        """Return a key by the part of it that is no secret, while it holds."""
        return next((k for k in self.now().keys if k.id == key_id and not is_over(k)), None)

    def user(self, name: str) -> UserEntry | None:
        """Return a user by name, while it holds."""
        return next((u for u in self.now().users if u.name == name and not is_over(u)), None)

    def login(self, name: str, password: str) -> UserEntry | None:
        """Return the user whose password this is, or None; it takes as long either way."""
        user = self.user(name)
        with self._guess_lock:
            is_right = is_password(password, user.scrypt if user is not None else _NOBODYS)
        return user if is_right else None

    def touch(self, entry: KeyEntry | UserEntry) -> None:
        """Write down that an entry was used, at most once a minute."""
        now_s = time.monotonic()
        with self._lock:
            if now_s - self._touched_at_s.get(entry.name, float("-inf")) < TOUCH_EVERY_S:
                return
            self._touched_at_s[entry.name] = now_s
        now = datetime.now(UTC).replace(microsecond=0)

        def touched(file: KeyFile) -> KeyFile:
            return file.model_copy(
                update={
                    "keys": tuple(_used(key, entry.name, now) for key in file.keys),
                    "users": tuple(_used(user, entry.name, now) for user in file.users),
                }
            )

        change_key_file(self.path, touched)

    def now(self) -> KeyFile:
        """Return what the file holds now; what can't be read any more gives nobody access."""
        with self._lock:
            try:
                stat = self.path.stat()
                seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            except OSError:
                seen = None
            if seen != self._seen:
                self._file = read_key_file(self.path) if seen is not None else KeyFile()
                self._seen = seen
            return self._file


def is_over(entry: KeyEntry | UserEntry) -> bool:
    """Whether an entry has expired."""
    return entry.expires is not None and entry.expires <= datetime.now(UTC)


def make_key(
    name: str,
    scopes: Iterable[Scope],
    cameras: Iterable[str] | None = None,
    lasts: timedelta | None = None,
) -> tuple[str, KeyEntry]:
    """Return a new key, which is shown once, and what is kept of it."""
    key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    now = datetime.now(UTC).replace(microsecond=0)
    entry = KeyEntry(
        name=name,
        cameras=None if cameras is None else tuple(cameras),
        created=now,
        expires=None if lasts is None else now + lasts,
        id=key_id,
        sha256=_sha256(secret),  # the secret is random: no guesses to be slowed down
        scopes=frozenset(scopes),
    )
    return f"{PREFIX}{key_id}_{secret}", entry


def make_user(
    name: str, password: str, role: Role, cameras: Iterable[str] | None = None
) -> UserEntry:
    """Return a user as it is kept."""
    return UserEntry(
        name=name,
        cameras=None if cameras is None else tuple(cameras),
        created=datetime.now(UTC).replace(microsecond=0),
        role=role,
        scrypt=hash_password(password),
    )


def with_key(file: KeyFile, entry: KeyEntry) -> KeyFile:
    """Return the file with one more key."""
    return file.model_copy(update={"keys": (*file.keys, entry)})


def with_user(file: KeyFile, entry: UserEntry) -> KeyFile:
    """Return the file with a user, in place of one of the same name."""
    others = tuple(user for user in file.users if user.name != entry.name)
    return file.model_copy(update={"users": (*others, entry)})


def without(file: KeyFile, name: str) -> KeyFile:
    """Return the file without the keys and users of a name, or the key of that id."""
    return file.model_copy(
        update={
            "keys": tuple(key for key in file.keys if name not in (key.name, key.id)),
            "users": tuple(user for user in file.users if user.name != name),
        }
    )


def hash_password(password: str) -> str:
    """Return `salt$hash` of a password, hex."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(password, salt).hex()}"


def is_password(password: str, kept: str) -> bool:
    """Whether a password is the one that `hash_password` was given."""
    salt, _, digest = kept.partition("$")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)), bytes.fromhex(digest))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(errors="replace"), salt=salt, n=_N, r=_R, p=_P)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _used(entry: _Any, name: str, now: datetime) -> _Any:
    return entry.model_copy(update={"last_used": now}) if entry.name == name else entry


_NOBODYS = f"{'00' * 16}${'00' * 64}"

"""The file of keys and users beside the journal: what it holds, read and written whole. Light.

It holds hashes only, and is for this user alone (0600). The command line and the server write it,
one at a time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError
from pipeline.writable import make_ready

NAME_PATTERN = r"^[A-Za-z0-9_.@-]{1,64}$"
_REMEDY = "name another file, or move this one away"


class Scope(StrEnum):
    """What a caller may do."""

    READ = "read"  # cameras, events, pictures
    SEARCH = "search"  # search with pictures
    WRITE = "write"  # cameras and catalogs
    ADMIN = "admin"  # keys; all of the others
    METRICS = "metrics"  # the scraper's


Role = Literal["admin", "viewer"]
SCOPES_OF_ROLE: dict[Role, frozenset[Scope]] = {
    "admin": frozenset(Scope),
    "viewer": frozenset((Scope.READ, Scope.SEARCH)),
}


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME_PATTERN)
    cameras: tuple[str, ...] | None = None  # that it may see; None: all
    created: AwareDatetime
    expires: AwareDatetime | None = None
    last_used: AwareDatetime | None = None


class KeyEntry(_Entry):
    """A key for programs. id: the part of it that is no secret. sha256: of the secret part."""

    id: str
    sha256: str
    scopes: frozenset[Scope]


class UserEntry(_Entry):
    """A person who logs in on the page. scrypt: `salt$hash` of the password, hex."""

    role: Role
    scrypt: str


class KeyFile(BaseModel):
    """All keys and users."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    keys: tuple[KeyEntry, ...] = ()
    users: tuple[UserEntry, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.keys and not self.users


def read_key_file(path: Path) -> KeyFile:
    """Return what the file holds, nothing when there is none yet; raises ConfigError."""
    try:
        return KeyFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return KeyFile()
    except OSError as error:
        rule = f"must be this user's to read ({error.strerror})"
        raise ConfigError.at("keys", rule, str(path), _REMEDY) from error
    except ValidationError as error:
        rule = "must be a file of `magpie keys`"  # the cause could show what it holds
        raise ConfigError.at("keys", rule, str(path), _REMEDY) from error.__cause__


def change_key_file(path: Path, change: Callable[[KeyFile], KeyFile]) -> KeyFile:
    """Write what `change` makes of the file's content and return it; one writer at a time.

    Raises ConfigError, and what `change` raises.
    """
    make_ready(path.parent, "keys", "name another file", mode=0o700)
    try:
        with os.fdopen(os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            changed = change(read_key_file(path))
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(number, "w") as file:
                file.write(changed.model_dump_json(indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        rule = f"must be this user's to write ({error.strerror})"
        raise ConfigError.at("keys", rule, str(path), _REMEDY) from error
    return changed

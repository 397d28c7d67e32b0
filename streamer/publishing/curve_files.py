"""Makes CURVE keys as the event sockets want them: files that only this user can read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.writable import make_ready


def make_curve_keys(folder: Path, clients: Sequence[str]) -> list[Path]:
    """Write the daemon's pair, and one for each reader, and return the files.

    A reader's own folder `for-NAME` holds all that it needs; the daemon's `clients` its public key.

    Raises ConfigError when the folder can't be written, or holds the daemon's pair already and no
    reader is named.
    """
    import zmq.auth

    make_ready(folder, "curve keys", "choose another", mode=0o700)
    server = folder / "server.key_secret"
    if server.exists() and not clients:
        rule = "holds the daemon's keys already"
        raise ConfigError.at("curve keys", rule, str(folder), "remove them first, or add --client")
    old_umask = os.umask(0o077)
    try:
        made: list[Path] = []
        if not server.exists():
            made += map(Path, zmq.auth.create_certificates(folder, "server"))
        for name in clients:
            made += _make_client(folder, name)
    finally:
        os.umask(old_umask)
    for path in made:
        path.chmod(0o600)
    return made


def _make_client(folder: Path, name: str) -> list[Path]:
    import zmq.auth

    own, known = folder / f"for-{name}", folder / "clients"
    if own.exists():
        raise ConfigError.at("curve keys", "has keys already", name, "choose another name")
    for each in (own, known):
        each.mkdir(mode=0o700, exist_ok=True)
    public, secret = map(Path, zmq.auth.create_certificates(own, "client"))
    (known / f"{name}.key").write_text(public.read_text())
    (own / "server.key").write_text((folder / "server.key").read_text())
    return [public, secret, known / f"{name}.key", own / "server.key"]

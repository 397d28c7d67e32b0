"""What a user can set about the wire, and the rules of its endpoints. Light: no zmq, no sqlite."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.errors import ConfigError
from pipeline.writable import expand_home, user_folder
from streamer.redaction import redact
from streamer.run_dir import MAX_SOCKET_PATH_BYTES

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5555"
_TCP = re.compile(r"^tcp://(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:/@]+):(?P<port>\d{1,5}|\*)$")
_FORM = "tcp://HOST:PORT or ipc://PATH"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked address of a socket; port None: the system chooses; host "" for ipc."""

    text: str
    host: str
    port: int | None
    path: str = ""

    @property
    def is_ipc(self) -> bool:
        return bool(self.path)

    @property
    def is_local(self) -> bool:
        """True when only programs of this machine can reach it."""
        if self.is_ipc or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False  # `*`, an interface, a host name: it may be reached from outside

    @property
    def bind_text(self) -> str:
        """The form that zmq's bind takes."""
        return self.text if self.is_ipc or self.port is not None else f"tcp://{self.host}:*"


def parse_endpoint(text: str, where: str = "endpoint") -> Endpoint:
    """Return the checked endpoint; `0` or `*` as port lets the system choose.

    Raises ConfigError.
    """
    if text.startswith("ipc://"):
        path = text.removeprefix("ipc://")
        size_bytes = len(os.fsencode(path))
        if not path or size_bytes > MAX_SOCKET_PATH_BYTES:
            rule = f"must be a path of 1 to {MAX_SOCKET_PATH_BYTES} bytes"
            raise ConfigError.at(where, rule, text, "choose a shorter path")
        return Endpoint(text, "", None, path)
    found = _TCP.match(text)
    if not found:
        shown = redact(text)
        raise ConfigError.at(where, f"expected {_FORM}", shown, f"for instance {DEFAULT_ENDPOINT}")
    port = 0 if found["port"] == "*" else int(found["port"])
    if port > 65535:
        raise ConfigError.at(where, "the port must be 1 to 65535, or 0 for any free one", text)
    return Endpoint(text, found["host"], port or None)


def ask_endpoint_of(events: Endpoint) -> Endpoint:
    """Return where the ask socket lies by default: one port up; any free port if events' is free.

    Raises ConfigError for port 65535.
    """
    if events.is_ipc:
        return parse_endpoint(f"{events.text}.ask", "publish.ask_endpoint")
    if events.port is None:
        return Endpoint(f"tcp://{events.host}:0", events.host, None)
    if events.port == 65535:
        rule = "the ask socket needs the port after it, 65535 is the last"
        raise ConfigError.at("publish.endpoint", rule, events.text, "choose a lower port")
    port = events.port + 1
    return Endpoint(f"tcp://{events.host}:{port}", events.host, port)


class PublishOptions(BaseModel):
    """How events leave the daemon."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field(
        DEFAULT_ENDPOINT, description="events (PUB); port 0: any free one; ipc://PATH works as well"
    )
    ask_endpoint: str | None = Field(
        None, description="questions (ROUTER); none: the port after `endpoint`'s"
    )
    insecure: bool = Field(
        False, description="allow an endpoint that other machines can reach, without keys"
    )
    curve_keys: Path | None = Field(  # not `keys`: dict(options) would take that for a method
        None,
        description="folder with CURVE keys: server.key_secret, and clients/*.key who may connect",
    )
    heartbeat_s: float = Field(1.0, gt=0, le=60, description="interval of the heartbeat")
    journal: Path | None = Field(
        None,
        description="the journal's file; none: <port>.db in $XDG_STATE_HOME/magpie, "
        "in the run directory when the port is any free one",
    )
    journal_keep_days: float = Field(7.0, gt=0, description="older events are forgotten")
    journal_max_bytes: int = Field(
        256 * 2**20, ge=2**20, description="above, the oldest events are forgotten"
    )

    @field_validator("endpoint", "ask_endpoint")
    @classmethod
    def _is_endpoint(cls, value: str | None, info: Any) -> str | None:
        if value is not None:
            try:
                parse_endpoint(value, f"publish.{info.field_name}")
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _stays_local_without_keys(self) -> PublishOptions:
        try:
            self.check()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def check(self) -> tuple[Endpoint, Endpoint]:
        """Return both endpoints, events and ask.

        Raises ConfigError when one can be reached from outside and neither keys nor `insecure`
        are given.
        """
        events = parse_endpoint(self.endpoint, "publish.endpoint")
        if self.ask_endpoint is None:
            ask = ask_endpoint_of(events)
        else:
            ask = parse_endpoint(self.ask_endpoint, "publish.ask_endpoint")
        for name, endpoint in (("endpoint", events), ("ask_endpoint", ask)):
            if not endpoint.is_local and self.curve_keys is None and not self.insecure:
                raise ConfigError.at(
                    f"publish.{name}",
                    "without keys it must be a loopback address",
                    endpoint.text,
                    "use 127.0.0.1, give publish.curve_keys, or say --insecure",
                )
        return events, ask


def journal_path(options: PublishOptions, run_dir: Path) -> Path:
    """Return where the journal lies.

    By default one file a port in the user's state folder, so that numbers go on across restarts;
    an endpoint without a lasting port has its journal in the run directory, which goes with it.
    """
    if options.journal is not None:
        return Path(os.path.abspath(expand_home(options.journal, "journal")))
    events, _ = options.check()
    if events.is_ipc:
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", events.path).strip("-")
    elif events.port is not None:
        name = str(events.port)
    else:
        return run_dir / "journal.db"
    state_home = user_folder("XDG_STATE_HOME", "~/.local/state", "name a journal: --journal")
    return state_home / "magpie" / f"{name}.db"

"""What a user can set about the HTTP API, and the rules of its address. Light: no server."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from pipeline.errors import ConfigError
from pipeline.options import Options
from streamer.web.key_file import read_key_file

DEFAULT_ADDRESS = "127.0.0.1:8080"
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]*|\*):(?P<port>\d{1,5})")
_BASE_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_ORIGIN = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class WebAddress:
    """Where the server listens; port 0: any free one; host "" is every address of this machine."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """True when only programs of this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # every address, or a host name: it may be reached from outside


def is_address(text: str) -> bool:
    """Whether a text has the form HOST:PORT, so that it is no source."""
    return bool(_ADDRESS.fullmatch(text))


def parse_address(text: str, where: str = "web.address") -> WebAddress:
    """Return the checked address; raises ConfigError."""
    found = _ADDRESS.fullmatch(text)
    remedy = f"for instance {DEFAULT_ADDRESS}"
    if found is None:
        raise ConfigError.at(where, "expected HOST:PORT", text, remedy)
    if int(found["port"]) > 65535:
        raise ConfigError.at(where, "the port must be 1 to 65535, or 0 for any free one", text)
    host = found["host"].strip("[]")
    is_every = host in ("*", "0.0.0.0", "::")  # noqa: S104  (known, and only with a key)
    return WebAddress("" if is_every else host, int(found["port"]))


class WebOptions(Options):
    """The HTTP API; off unless asked for."""

    enabled: bool = Field(False, description="serve it; `magpie run --web` as well")
    address: str = Field(DEFAULT_ADDRESS, description="HOST:PORT; port 0: any free one")
    base_path: str = Field(
        "", description="where a proxy shows it, as /magpie; understood with and without"
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="networks of proxies whose X-Forwarded-* headers hold, as 10.0.0.0/8"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="further names that it may be called by; on loopback only its own are known"
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="pages of other origins that may use it, as https://shop.example"
    )
    require_key: bool | None = Field(
        None,
        description="whether every request needs a key or a session; none: unless only this "
        "machine can reach it and no proxy is listed",
    )
    keys: Path | None = Field(
        None, description="file of keys and users; none: beside the journal (`magpie keys add`)"
    )
    tls_cert: Path | None = Field(None, description="certificate (PEM), to serve https")
    tls_key: Path | None = Field(None, description="its private key (PEM)")
    body_max_mb: int = Field(64, ge=1, le=4096, description="largest upload of a request")
    streams_max: int = Field(
        100, ge=1, le=10_000, description="event streams that may be open at once"
    )

    @field_validator("address")
    @classmethod
    def _is_address(cls, text: str) -> str:
        try:
            parse_address(text)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return text

    @field_validator("base_path")
    @classmethod
    def _is_base_path(cls, text: str) -> str:
        text = text.rstrip("/")
        if not _BASE_PATH.fullmatch(text) or "/.." in text:
            raise ValueError(f"expected a path as /magpie, got {text!r}")
        return text

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                ipaddress.ip_network(text)
            except ValueError:
                raise ValueError(f"expected networks as 10.0.0.0/8, got {text!r}") from None
        return texts

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            if not _ORIGIN.fullmatch(text):
                raise ValueError(f"expected origins as https://shop.example, got {text!r}")
        return texts

    @model_validator(mode="after")
    def _has_both_of_tls(self) -> WebOptions:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together, got one of them")
        return self

    @property
    def is_open(self) -> bool:
        """Whether requests without a key or session may do everything."""
        if self.require_key is not None:
            return not self.require_key
        return parse_address(self.address).is_local and not self.trusted_proxies


def keys_path(options: WebOptions, journal: Path) -> Path:
    """Return where keys and users are kept."""
    return options.keys or journal.with_name(f"{journal.name}.keys")


def check_access(options: WebOptions, journal: Path) -> None:
    """Raise ConfigError when other machines could reach a server that nobody has a key of.

    Nothing is checked when it is off.
    """
    if not options.enabled:
        return
    path = keys_path(options, journal)
    if not parse_address(options.address).is_local and options.require_key is False:
        rule = "require_key: false is for loopback addresses only"
        raise ConfigError.at("web.address", rule, options.address, "use 127.0.0.1, or keys")
    if options.is_open or not read_key_file(path).is_empty:
        return
    rule = "without a key or user it must be a loopback address"
    if parse_address(options.address).is_local:
        rule = "with require_key or trusted_proxies it needs a key or user"
    remedy = f"make one: magpie keys add NAME --file {path}"
    raise ConfigError.at("web.address", rule, options.address, remedy)

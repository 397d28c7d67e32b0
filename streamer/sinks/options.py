"""What a user can set about sinks. Light: no client of any protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from pipeline.errors import ConfigError, MagpieError
from pipeline.options import Options
from streamer.publishing.options import PublishOptions
from streamer.redaction import remember_secret, remember_secrets
from streamer.secret_text import is_named, read_named, read_secret

SinkName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
SinkKind = Literal["mqtt", "webhook"]
EventType = Literal["appeared", "updated", "left", "status"]
Tier = Literal["exact", "very_similar", "similar"]

_TOPIC = re.compile(r"[^\0+#/]+(/[^\0+#/]+)*")
_HOST = re.compile(r"[\w-]+(\.[\w-]+)*\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%\w+)?", re.ASCII)
_SHORTEST_KEY = 12
_NAMED_TEXT = "as it is, ${NAME} of the environment, or file:PATH"


class SinkOptions(Options):
    """Which events a sink gets; each key that is left empty lets all through."""

    cameras: tuple[str, ...] = Field((), description="only these cameras' events")
    items: tuple[str, ...] = Field((), description="only these items; * and ? stand for any text")
    tiers: tuple[Tier, ...] = Field((), description="only events of these tiers")
    types: tuple[EventType, ...] = Field(
        ("appeared", "updated", "left"), description="of appeared, updated, left, status"
    )

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._remember()  # a worker's options are unpickled, not validated

    @model_validator(mode="after")
    def _remembered(self) -> SinkOptions:
        self._remember()
        return self

    def _remember(self) -> None:
        """Hide the secrets that the configuration itself holds."""
        for secret in self.secrets().values():
            if not is_named(secret.get_secret_value()):
                remember_secrets(secret.get_secret_value())
                remember_secret(secret.get_secret_value())

    def secrets(self) -> dict[str, SecretStr]:
        """Return the secrets that are set, by their keys; of an address see checked_url."""
        found = ((key, getattr(self, key)) for key in ("password", "secret") if hasattr(self, key))
        return {key: value for key, value in found if value is not None}

    def wants(self, event: dict[str, Any]) -> bool:
        """Whether an event of the wire passes: a status is held against types and cameras."""
        if event["type"] not in self.types:
            return False
        if self.cameras and event["camera"] not in self.cameras:
            return False
        return event["type"] == "status" or self.wants_match(event)

    def wants_match(self, match: dict[str, Any]) -> bool:
        """Whether a match passes, whatever its type."""
        return (
            (not self.cameras or match["camera"] in self.cameras)
            and (not self.tiers or match["tier"] in self.tiers)
            and (not self.items or any(fnmatchcase(match["item_id"], each) for each in self.items))
        )


class MqttOptions(SinkOptions):
    """An MQTT broker (3.1.1)."""

    host: str = Field(min_length=1, max_length=255, description="the broker's name or address")
    port: int | None = Field(None, ge=1, le=65535, description="none: 1883, with tls 8883")
    user: str | None = Field(None, description=_NAMED_TEXT)
    password: SecretStr | None = Field(None, description=_NAMED_TEXT)
    tls: bool = Field(False, description="encrypt, and check the broker's certificate")
    ca: Path | None = Field(None, description="certificates to trust (PEM); none: the system's")
    client_cert: Path | None = Field(None, description="certificate to show (PEM)")
    client_key: Path | None = Field(None, description="its key (PEM)")
    client_id: str | None = Field(
        None, min_length=1, max_length=128, description="none: magpie-<name>-<the journal's id>"
    )
    topic_prefix: str = Field("magpie", max_length=256, description="first part of every topic")
    qos: int = Field(1, ge=0, le=2, description="0 may lose events when the connection breaks")
    home_assistant: bool = Field(
        False, description="announce each item seen and each camera to Home Assistant"
    )
    discovery_prefix: str = Field("homeassistant", max_length=256)

    @field_validator("host")
    @classmethod
    def _is_host(cls, host: str) -> str:
        if not _HOST.fullmatch(host) or any(len(part) > 63 for part in host.split(".")):
            raise ValueError(
                f"expected a name or an address, without mqtt:// and port, got {host!r}"
            )
        return host

    @field_validator("topic_prefix", "discovery_prefix")
    @classmethod
    def _is_topic(cls, topic: str) -> str:
        if not _TOPIC.fullmatch(topic) or topic.startswith("$"):
            raise ValueError(f"expected a topic without + # and empty parts, got {topic!r}")
        return topic

    @model_validator(mode="after")
    def _fits_together(self) -> MqttOptions:
        if not self.tls and (self.ca or self.client_cert or self.client_key):
            raise ValueError("ca, client_cert and client_key need tls: true")
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key go together")
        if self.password is not None and self.user is None:
            raise ValueError("a password needs a user")
        return self

    @property
    def port_in_use(self) -> int:
        return self.port or (8883 if self.tls else 1883)

    def files(self) -> dict[str, Path]:
        """Return the files that must be there, by their keys."""
        named = {"ca": self.ca, "client_cert": self.client_cert, "client_key": self.client_key}
        return {key: path for key, path in named.items() if path is not None}


class WebhookOptions(SinkOptions):
    """An HTTP server that gets each event as a POST."""

    url: SecretStr = Field(
        description=f"http(s)://…; what follows the host is kept secret; {_NAMED_TEXT}"
    )
    secret: SecretStr | None = Field(
        None, description=f"signs each POST (webhook-signature); none: no; {_NAMED_TEXT}"
    )
    ca: Path | None = Field(None, description="certificates to trust (PEM); none: the system's")
    timeout_s: float = Field(10.0, gt=0, le=30, description="for an answer")
    retry_max_s: float = Field(
        60.0, gt=0, le=3600, description="longest wait between tries; from 0.5 s, doubled"
    )

    def _remember(self) -> None:
        super()._remember()
        if not is_named(self.url.get_secret_value()):
            _remember_address(self.url.get_secret_value())

    def files(self) -> dict[str, Path]:
        """Return the files that must be there, by their keys."""
        return {} if self.ca is None else {"ca": self.ca}


class SinksOptions(Options):
    """Where events go besides the sockets; nowhere by default (docs/sinks.md)."""

    mqtt: dict[SinkName, MqttOptions] = Field(
        default_factory=dict, description="brokers, by a name of yours"
    )
    webhook: dict[SinkName, WebhookOptions] = Field(
        default_factory=dict, description="HTTP servers, by a name of yours"
    )

    def each(self) -> Iterator[tuple[SinkKind, str, MqttOptions | WebhookOptions]]:
        """Yield kind, name and options of each sink."""
        yield from (("mqtt", name, options) for name, options in self.mqtt.items())
        yield from (("webhook", name, options) for name, options in self.webhook.items())


class SinkArgs(Options):
    """What a sink's worker is handed. publish: tells where the journal lies."""

    kind: SinkKind
    name: str
    options: MqttOptions | WebhookOptions
    publish: PublishOptions


def checked_url(options: WebhookOptions) -> str:
    """Return the address of a webhook, its path and query remembered as secret.

    Raises ConfigError for what is no http(s) address; the text itself is not shown.
    """
    url = read_named(options.url.get_secret_value())
    _remember_address(url)
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not url.isascii() or re.search(r"[\s\0-\x1f]", url):
        rule = "expected http://HOST[:PORT]/PATH or https://…, percent-encoded"
        raise ConfigError.at("address of a webhook", rule, remedy="check it")
    return url


def _remember_address(url: str) -> None:
    """Hide user and password of an address, and what of its path and query may be a key."""
    remember_secrets(url)
    behind_host = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[-1]
    for part in re.split(r"[/?&=#]", behind_host):
        if len(part) >= _SHORTEST_KEY:  # a shorter one is a word: ordinary lines would be torn
            remember_secret(part)


def find_sink_mistakes(sinks: SinksOptions) -> Iterator[tuple[tuple[str, ...], MagpieError]]:
    """Yield what only the outside world can tell: secrets that are not there, missing files.

    Each mistake comes with the path of its key. No server is asked.
    """
    for kind, name, options in sinks.each():
        keys = ("sinks", kind, name)
        for key, read in _readers(options).items():
            try:
                read()
            except MagpieError as error:
                yield (*keys, key), error
        for key, path in options.files().items():
            if not path.is_file():
                yield (*keys, key), ConfigError.at("file", "no such file", str(path))


def _readers(options: MqttOptions | WebhookOptions) -> dict[str, Callable[[], str]]:
    """Return, by key, what reads each named text of a sink."""
    found: dict[str, Callable[[], str]] = {
        key: partial(read_secret, secret) for key, secret in options.secrets().items()
    }
    if isinstance(options, WebhookOptions):
        found["url"] = partial(checked_url, options)
    elif options.user is not None:
        found["user"] = partial(read_named, options.user)
    return found

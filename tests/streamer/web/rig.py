"""A real daemon with the web worker, and plain HTTP to it."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamer.publishing.asking import ask_state
from tests.end_to_end.daemon_bench import RunningDaemon, running_daemon
from tests.fakes import wait_until, write_scripted_catalog

SLOW_S = 60.0  # a busy machine takes long to start processes; only a failing test waits so
LIVE = "test:?size=320x240&fps=25"


@dataclass(frozen=True)
class Answer:
    """An answer of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks one server; a connection a request."""

    def __init__(self, port: int, key: str | None = None) -> None:
        self.port = port
        self.key = key

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        sent = dict(headers or {})
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        return self.send(method, path, data, sent)

    def send(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        """Ask with a body as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SLOW_S)
        sent = dict(headers)
        if self.key is not None:
            sent.setdefault("Authorization", f"Bearer {self.key}")
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    @contextmanager
    def stream(self, path: str = "/api/v1/events/stream", **headers: str) -> Iterator["Stream"]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SLOW_S)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key is not None:
            sent["Authorization"] = f"Bearer {self.key}"
        try:
            connection.request("GET", path, headers=sent)
            response = connection.getresponse()
            yield Stream(response)
        finally:
            connection.close()


class Stream:
    """Server-sent events as they come."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response
        self.status = response.status
        self.last_id = ""

    def next(self) -> dict[str, Any]:
        """Return the next block that holds data; its event's name under "event"."""
        event: dict[str, Any] = {}
        while True:
            line = self.response.readline().decode().rstrip("\n")
            if not line and not self.response.isclosed() and event.get("data"):
                return {**json.loads(event["data"]), "event": event.get("event")}
            if not line and self.response.isclosed():
                raise EOFError("the stream has ended")
            name, _, value = line.partition(": ")
            if name == "id":
                self.last_id = value
            if name in ("data", "event"):
                event[name] = value


def web_port(daemon: RunningDaemon) -> int:
    """Return the port of the web worker, once it serves."""
    found: list[int] = []

    def look() -> bool:
        state = ask_state(daemon.endpoint, 5, ask_endpoint=daemon.ask_endpoint)
        web = (state or {}).get("workers", {}).get("web", {})
        if web.get("state") == "running" and "port" in web["counters"]:
            found.append(web["counters"]["port"])
        return bool(found)

    wait_until(look, "the web worker serves", SLOW_S)
    return found[-1]


@dataclass
class WebRun:
    """A daemon that serves HTTP."""

    daemon: RunningDaemon
    client: Client


def web_config(folder: Path, web: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """Return a configuration with a scripted catalog, two live cameras and the web worker."""
    catalog = write_scripted_catalog(folder / "shelf", period=20, appear=2, leave=12)
    return {
        "catalog": str(catalog),
        "cameras": {"door": {"url": LIVE}, "hall": {"url": LIVE}},
        "web": {"enabled": True, "address": "127.0.0.1:0", **(web or {})},
        **config,
    }


@contextmanager
def web_run(folder: Path, web: dict[str, Any] | None = None, **config: Any) -> Iterator[WebRun]:
    """Start a daemon with such a configuration."""
    with running_daemon(folder, web_config(folder, web, **config)) as daemon:
        yield WebRun(daemon, Client(web_port(daemon)))

"""Sinks to test with: real worker processes, a real journal, a real HTTP server, a real broker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from pipeline.types import Phase
from streamer.child import Report
from streamer.publishing.options import PublishOptions
from streamer.sinks.options import MqttOptions, SinkArgs, WebhookOptions
from streamer.supervisor import Supervisor, SupervisorOptions
from streamer.worker import WorkerSpec
from tests.streamer.publishing.rig import Wire, sighting

WITHIN_S = 30.0
TARGETS = {"mqtt": "streamer.sinks.mqtt:run_mqtt", "webhook": "streamer.sinks.webhook:run_webhook"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class SinkRun:
    """One sink's worker under a supervisor, as in a run, and what it reported."""

    def __init__(
        self, wire: Wire, options: MqttOptions | WebhookOptions, name: str = "one"
    ) -> None:
        kind = "mqtt" if isinstance(options, MqttOptions) else "webhook"
        publish = PublishOptions(endpoint="tcp://127.0.0.1:0", journal=wire.journal_path)
        args = SinkArgs(kind=kind, name=name, options=options, publish=publish)  # type: ignore[arg-type]
        self.worker = f"sink.{kind}.{name}"
        spec = WorkerSpec(self.worker, "sink", TARGETS[kind], args, 30.0, 60.0)
        self._supervisor = Supervisor([spec], wire.run_dir, SupervisorOptions(), "debug")
        self.reports: list[Report] = []
        self.position_path = wire.journal_path.with_name(f"journal.db.sink-{kind}-{name}.json")
        self._supervisor.start(self.worker)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Return when the condition holds; the supervisor works meanwhile."""
        deadline_s = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < deadline_s, (
                f"not within {WITHIN_S:g} s: {what}; {self.reports}"
            )
            self.poll()

    def poll(self) -> None:
        for event in self._supervisor.poll(0.02):
            if isinstance(event.what, Report):
                self.reports.append(event.what)

    def until_state(self, state: str) -> Report:
        """Return the report when the last one is of this state."""
        self.until(lambda: self.reports and self.reports[-1].state == state, f"it is {state}")
        return self.reports[-1]

    def kill(self) -> None:
        """kill -9; the supervisor starts it again."""
        os.kill(self._supervisor.pids()[self.worker], signal.SIGKILL)

    def stop(self) -> None:
        self._supervisor.stop()

    def position(self) -> int:
        return int(json.loads(self.position_path.read_text())["seq"])


def send_sightings(wire: Wire, first: int, last: int, **changes: Any) -> list[str]:
    """Publish one sighting that appears, of each number; returns the sightings' ids."""
    sink = wire.sink()
    names = [f"s{number}" for number in range(first, last + 1)]
    for name in names:
        sink.send_sighting(sighting(name, Phase.APPEARED, **changes))
    return names


@dataclass
class Post:
    """One request that the server got, and what it answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class HookServer:
    """An HTTP server on a port of the loopback that can be stopped and started again.

    answers: statuses of the next requests; then 200. Each may have headers: (503, {...}).
    """

    port: int = field(default_factory=free_port)
    posts: list[Post] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    _server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # whoever sent it was killed
                answer = hook.answers.pop(0) if hook.answers else 200
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                hook.posts.append(Post(self.path, dict(self.headers.items()), body, status))
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            connections: ClassVar[set[socket.socket]] = set()

            def handle_error(self, *_: object) -> None:
                pass  # a connection that was cut

            def process_request(self, request: Any, client_address: Any) -> None:
                self.connections.add(request)
                super().process_request(request, client_address)

        self._server = Server(("127.0.0.1", self.port), Handler)
        Server.connections.clear()
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop it, its open connections too."""
        if self._server is not None:
            self._server.shutdown()
            for connection in self._server.connections:  # type: ignore[attr-defined]
                with_reset(connection)
            self._server.server_close()
            self._server = None

    def taken(self) -> list[str]:
        """The sightings of what was answered with 200, in order."""
        return [post.event.get("sighting_id", "gap") for post in self.posts if post.status == 200]


def with_reset(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


class Broker:
    """A mosquitto on a port of the loopback that can be stopped and started again."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        login = () if any(line.startswith("password_file") for line in lines) else (
            "allow_anonymous true",
        )  # fmt: skip
        text = [f"listener {self.port} 127.0.0.1", "user root", "persistence false", *login, *lines]
        self._config.write_text("\n".join(text) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def is_there() -> bool:
        return Broker.command() is not None

    @staticmethod
    def command() -> str | None:
        return shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")

    def start(self) -> None:
        command = self.command()
        assert command is not None
        self._process = subprocess.Popen(
            [command, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, "the broker ended"
                time.sleep(0.01)
        raise AssertionError("the broker does not listen")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None


class Listener:
    """A client that hears every topic; it comes back by itself."""

    def __init__(self, port: int, **login: str) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self._is_subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "listener", clean_session=False)
        if login:
            self._client.username_pw_set(login["user"], login["password"])
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._is_subscribed.set()
        self._client.on_message = lambda _, __, message: self.messages.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        self._client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._is_subscribed.wait(10)

    def wait_subscribed_again(self) -> None:
        self._is_subscribed.clear()
        assert self._is_subscribed.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def of(self, topic: str) -> list[str]:
        return [text for name, text, _ in self.messages if name == topic]

    def last(self, topic: str) -> str | None:
        return next(iter(reversed(self.of(topic))), None)

    def sightings(self) -> list[str]:
        events = [json.loads(text) for text in self.of("magpie/events")]
        return [event.get("sighting_id", "gap") for event in events]


def without_repeats(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Return certificate and key of 127.0.0.1, signed by itself."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key

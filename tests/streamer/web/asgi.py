"""Calls the application in this process: no socket, no daemon."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from streamer.web.application import build_application, with_gate
from streamer.web.context import WebContext
from streamer.web.daemon_state import DaemonState
from streamer.web.event_hub import EventHub
from streamer.web.keys import Keys
from streamer.web.options import WebOptions
from streamer.web.sessions import Sessions
from streamer.web.slowing import Slowing
from tests.streamer.web.rig import Answer


class FakeState(DaemonState):
    """A daemon that gives no answer, at once."""

    def now(self) -> dict[str, Any] | None:
        return None


def make_context(folder: Path, **options: Any) -> WebContext:
    """A context without a daemon: an empty folder."""
    return WebContext(
        options=WebOptions(**options),
        run_dir=folder,
        journal_path=folder / "journal.db",
        evidence=folder / "evidence",
        keys=Keys(folder / "keys"),
        sessions=Sessions(),
        slowing=Slowing(),
        hub=EventHub(),
        state=FakeState(folder),
    )


class Inside:
    """Asks the application directly."""

    def __init__(self, context: WebContext, app: ASGIApp | None = None) -> None:
        self.context = context
        self._app = app or with_gate(build_application(), context)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | object = b"",
        headers: Mapping[str, str] | None = None,
        client: str = "127.0.0.1",
    ) -> Answer:
        sent = {"host": "127.0.0.1:8080", **(headers or {})}
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent = {"content-type": "application/json", **sent}
        if body:
            sent = {"content-length": str(len(body)), **sent}
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in sent.items()],
            "client": (client, 40000),
            "server": ("127.0.0.1", 8080),
        }
        return asyncio.run(self._call(scope, body))

    async def _call(self, scope: dict[str, Any], body: bytes) -> Answer:
        answered: dict[str, Any] = {"body": b""}
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered["status"] = message["status"]
                answered["headers"] = {
                    k.decode().lower(): v.decode() for k, v in message["headers"]
                }
            else:
                answered["body"] += message.get("body", b"")

        await self._app(scope, receive, send)
        return Answer(answered["status"], answered["headers"], answered["body"])

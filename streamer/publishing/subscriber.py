"""The reader's end of the wire, public: events in order, each once, gaps filled from the journal.

from streamer.publishing import Subscriber

with Subscriber("tcp://127.0.0.1:5555", since=0) as events:
    for event in events:
        if event.type == "appeared":
            print(event.camera, event.item_id, event.probability)
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq
from pydantic_core import from_json

from pipeline.errors import ConfigError
from streamer.publishing.asking import Asker
from streamer.publishing.events import CAMERA_PATTERN, SCHEMA, MatchEvent, StatusEvent, parse_event
from streamer.publishing.options import (
    DEFAULT_ENDPOINT,
    Endpoint,
    ask_endpoint_of,
    parse_endpoint,
)
from streamer.publishing.sockets import connect_reader

PAGE = 500
_QUEUE = 20_000  # live events that wait while older ones are read; what is lost is asked for again
_ASK_S = 2.0
_LOOK_S = 0.5  # longest wait between two looks at the clock
_HEARTBEAT_S = 1.0  # until the first heartbeat tells


class Subscriber:
    """Iterates over the numbered events of a daemon, in order, each once, none missing.

    It subscribes first, asks the journal for what came before, drops what comes twice, and asks
    again whenever a number is missing or a heartbeat knows of more than has come. It reconnects
    by itself and goes on where it was when a daemon comes back.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        since: int | None = None,
        camera: str | None = None,
        timeout_s: float | None = None,
        ask_endpoint: str | None = None,
        keys: Path | None = None,
    ) -> None:
        """Connect; the daemon need not run yet.

        since: events after this number come first, from the journal; 0: all that it holds; None:
        only what is published from now on. camera: only this one's matches and states.
        timeout_s: iteration ends when nothing comes for so long; None: never.
        keys: folder with the daemon's `server.key` (and `client.key_secret` where it wants one).

        Raises ConfigError for an endpoint, camera or key of the wrong form.
        """
        address = parse_endpoint(endpoint)
        ask = ask_endpoint_of(address) if ask_endpoint is None else parse_endpoint(ask_endpoint)
        if since is not None and since < 0:
            raise ConfigError.at("since", "must be 0 or more", since, "0 gives all events")
        if camera is not None and not re.fullmatch(CAMERA_PATTERN, camera):
            raise ConfigError.at("camera", "may have 1 to 64 of A-Z a-z 0-9 _ -", camera)
        self._timeout_s = timeout_s
        self._camera = camera
        self._wants_history = since is not None
        self._seq = since
        self._camera_seq: int | None = None
        self._journal_id: str | None = None
        self._is_behind = True
        self._held: dict[str, Any] | None = None
        self._ready: deque[dict[str, Any]] = deque()
        self._heard_s = time.monotonic()
        self._heartbeat_s = _HEARTBEAT_S
        self.n_unavailable = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._asker = Asker(self._context, ask, keys)
            self._live = self._open_live(address, keys)
        except BaseException:
            self._context.destroy(linger=0)
            raise

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[MatchEvent | StatusEvent]:
        """Yield events until none comes for `timeout_s`."""
        while (event := self.receive(self._timeout_s)) is not None:
            yield event

    def receive(self, timeout_s: float | None = None) -> MatchEvent | StatusEvent | None:
        """Return the next event, or None when none comes in time (None: wait for ever)."""
        event = self.receive_dict(timeout_s)
        if event is None:
            return None
        typed = parse_event(event)
        assert isinstance(typed, MatchEvent | StatusEvent)  # heartbeats are never numbered
        return typed

    def receive_dict(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """Return the next event as decoded JSON, or None when none comes in time.

        Raises ConfigError when `since` is beyond the journal's last number: it is another journal.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ready:
            left_s = _LOOK_S if deadline_s is None else deadline_s - time.monotonic()
            self._step(min(max(left_s, 0.0), _LOOK_S))
            if left_s <= 0 and not self._ready and (self._is_behind or not self._live.poll(0)):
                return None
        return self._ready.popleft()

    def state(self, timeout_s: float = _ASK_S) -> dict[str, Any] | None:
        """Return how things stand: each worker's last state, the open sightings, the last numbers.

        None when no daemon answers in time.
        """
        return self._asker.ask({"state": True}, timeout_s)

    @property
    def is_silent(self) -> bool:
        """Whether the daemon missed three heartbeats: it is gone, stuck, or out of reach.

        Known as of the last `receive`.
        """
        return time.monotonic() - self._heard_s > 3 * self._heartbeat_s

    @property
    def last_seq(self) -> int | None:
        """The number up to which everything was given out or is known not to exist; None before
        the daemon was reached. Give it as `since` to go on later."""
        return self._seq if not self._ready else int(self._ready[0]["seq"]) - 1

    def close(self) -> None:
        """Close the sockets; twice is fine."""
        self._live.close(linger=0)
        self._asker.close()
        self._context.term()

    def _open_live(self, address: Endpoint, keys: Path | None) -> zmq.Socket[bytes]:
        live = self._context.socket(zmq.SUB)
        live.rcvhwm = _QUEUE
        live.rcvtimeo = int(_LOOK_S * 1000)
        connect_reader(live, address, keys)
        topics = ["match.", "status."]
        if self._camera is not None:
            topics = [f"{topic}{self._camera}." for topic in topics]
        for topic in (*topics, "heartbeat."):
            live.subscribe(topic)
        return live

    def _step(self, wait_s: float) -> None:
        """Make some way: a page from the journal when behind, else one live message."""
        if self._is_behind:
            self._catch_up(wait_s)
            return
        is_whole_wait = wait_s >= _LOOK_S  # then receiving waits: in a burst, a poll is half of all
        if not is_whole_wait and not self._live.poll(int(wait_s * 1000)):
            return
        try:
            parts = self._live.recv_multipart(0 if is_whole_wait else zmq.NOBLOCK)
        except zmq.Again:
            return
        self._heard_s = time.monotonic()
        self._take(_decoded(parts[-1]))

    def _take(self, message: dict[str, Any]) -> None:
        """Give a live event out if it is the next one; else drop it, or fall back to asking."""
        if message["journal_id"] != self._journal_id:
            self._change_journal(message)
        if message["type"] == "heartbeat":
            self._heartbeat_s = float(message["heartbeat_s"])
            self._is_behind = self._is_beyond(message)
        elif self._camera is not None and message["camera"] != self._camera:
            pass  # a worker whose name begins like the camera's topic
        elif self._seq is not None and message["seq"] <= self._seq:
            pass  # came from the journal already
        elif self._is_next(message):
            self._give(message)
        else:
            self._held, self._is_behind = message, True

    def _is_next(self, event: dict[str, Any]) -> bool:
        if self._camera is None:
            return self._seq is not None and event["seq"] == self._seq + 1
        return self._camera_seq is not None and event["camera_seq"] == self._camera_seq + 1

    def _is_beyond(self, heartbeat: dict[str, Any]) -> bool:
        """Whether the daemon has sent more than has come."""
        if self._camera is None:
            return self._seq is None or heartbeat["last_seq"] > self._seq
        known = self._camera_seq
        return known is None or heartbeat["last_camera_seq"].get(self._camera, 0) > known

    def _give(self, event: dict[str, Any]) -> None:
        self._seq = event["seq"]
        if self._camera is not None:
            self._camera_seq = event["camera_seq"]
        self._ready.append(event)

    def _change_journal(self, message: dict[str, Any]) -> None:
        """Begin again in another journal (the daemon was started with a new one): at its first
        event when history is wanted, else where it stands now."""
        self._journal_id = message["journal_id"]
        self._camera_seq = None
        now_at = message["seq"] - 1 if "seq" in message else message["last_seq"]
        self._seq = 0 if self._wants_history else now_at
        self._is_behind = True

    def _catch_up(self, wait_s: float) -> None:
        """Ask for the next page; when it is the last, give out the live event that waited."""
        question: dict[str, Any] = {"state": True}
        if self._seq is not None:
            question = {"since": self._seq, "limit": PAGE}
            if self._camera is not None:
                question["camera"] = self._camera
        answer = self._asker.ask(question, wait_s)
        if answer is None:
            return
        self._heard_s = time.monotonic()
        if self._journal_id is None:
            self._begin(answer)
        elif answer["journal_id"] != self._journal_id:
            self._held = None
            self._change_journal(answer)
            return
        if "events" in answer:
            self._take_page(answer)
        else:  # the first answer of a reader who wants no history
            self._seq, self._is_behind = answer["last_seq"], False
        if not self._is_behind and self._camera is not None:
            self._camera_seq = answer["last_camera_seq"].get(self._camera, 0)
        if not self._is_behind and self._held is not None:
            held, self._held = self._held, None
            if self._seq is None or held["seq"] > self._seq:
                self._give(held)

    def _begin(self, answer: dict[str, Any]) -> None:
        """Learn the journal from the first answer."""
        self._journal_id = answer["journal_id"]
        if self._seq is not None and self._seq > answer["last_seq"]:
            rule = f"must be at most the journal's last number {answer['last_seq']}"
            remedy = "the number is from another journal, start with since 0"
            raise ConfigError.at("since", rule, self._seq, remedy)

    def _take_page(self, answer: dict[str, Any]) -> None:
        assert self._seq is not None
        self.n_unavailable += max(0, answer["oldest_seq"] - 1 - self._seq)
        for event in answer["events"]:
            self._give(event)
        self._seq = max(self._seq, answer["next_since"])
        self._is_behind = answer["more"]


def _decoded(payload: bytes) -> dict[str, Any]:
    """Return the message's JSON object.

    Raises ConfigError when what publishes there is no Magpie daemon.
    """
    try:
        message = from_json(payload)
        if message["schema"] != SCHEMA:
            raise ValueError(f"schema {message['schema']}")
    except (ValueError, TypeError, KeyError) as error:
        rule = f"must be a Magpie daemon's that speaks schema {SCHEMA}"
        raise ConfigError.at("endpoint", rule, payload[:60].decode(errors="replace")) from error
    return dict(message)

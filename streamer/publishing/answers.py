"""The ask socket: what the journal holds, and how things stand. ROUTER, in a thread of its own.

    {"since": 1041, "camera": "door", "limit": 500}   events after a number, a page at a time
    {"state": true}                                   every worker's last state, open sightings

A REQ or a DEALER socket asks; an "id" in the question comes back in the answer. Whatever is wrong
with a question is answered as {"error": "where: rule, got value; remedy"}.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from typing import Literal

import zmq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamer.private_socket import bind_private
from streamer.publishing.events import CAMERA_PATTERN, SCHEMA
from streamer.publishing.journal import Journal
from streamer.publishing.journal_file import connect
from streamer.publishing.options import Endpoint
from streamer.publishing.sockets import (
    LINGER_MS,
    QUESTION_MAX_BYTES,
    ServerKeys,
    Waker,
    bind,
)
from streamer.reporting import Log

PAGE_MAX = 1000
OPEN_MAX = 2000  # open sightings in a state, the newest
PAGE_MAX_BYTES = 2 * 2**20
_log = Log("answers")


class SinceQuestion(BaseModel):
    """Asks for the events after a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: int | str | None = None
    since: int = Field(ge=0, le=2**62)
    camera: str | None = Field(None, pattern=CAMERA_PATTERN)
    limit: int = Field(500, ge=1, le=PAGE_MAX)


class StateQuestion(BaseModel):
    """Asks how things stand."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: int | str | None = None
    state: Literal[True]


class Answers:
    """Answers questions from the journal, on a connection that never holds the publisher up."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        journal: Journal,
        keys: ServerKeys,
        private: str,
    ) -> None:
        """private: where workers of the run ask, without keys."""
        self._journal_path = journal.path
        self._journal_id = journal.journal_id
        self.summary = self.control = "{}"  # JSON; set by the publisher, read here
        self._waker = Waker()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._router = context.socket(zmq.ROUTER)
        self._router.linger = LINGER_MS
        self._router.maxmsgsize = QUESTION_MAX_BYTES
        self._router.sndhwm = 16  # answers kept for one slow asker; further ones are dropped
        bind_private(self._router, private)
        keys.put_on(self._router)

    def bind(self, endpoint: Endpoint) -> str:
        """Bind and return the address in use; raises ConfigError."""
        return bind(self._router, endpoint, "publish.ask_endpoint")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when the thread has ended and the socket is closed; twice is fine."""
        self._is_stopping.set()
        self._waker.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._waker.close()

    def _run(self) -> None:
        db = connect(self._journal_path, is_reader=True)
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._waker.fileno(), zmq.POLLIN)
        try:
            while not self._is_stopping.is_set():
                poller.poll(1000)
                while self._router.poll(0) and not self._is_stopping.is_set():
                    *envelope, question = self._router.recv_multipart()
                    self._router.send_multipart([*envelope, self.answer(db, question)])
        except Exception:
            _log.exception("the ask socket died; live events go on")
        finally:
            db.close()
            self._router.close()

    def answer(self, db: sqlite3.Connection, question: bytes) -> bytes:
        """Return the answer's JSON to a question's; never raises for a bad question."""
        try:
            asked = _parse(question)
        except _BadQuestion as error:
            return json.dumps({"schema": SCHEMA, "id": error.id, "error": str(error)}).encode()
        try:
            db.execute("BEGIN")  # everything in an answer is of one moment
            if isinstance(asked, SinceQuestion):
                return self._events_since(db, asked)
            return self._state(db, asked)
        except sqlite3.Error as error:
            _log.error("the journal cannot be read", cause=error)
            text = f"ask: the journal cannot be read ({error}); see the daemon's log"
            return json.dumps({"schema": SCHEMA, "id": asked.id, "error": text}).encode()
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _events_since(self, db: sqlite3.Connection, asked: SinceQuestion) -> bytes:
        query = "SELECT seq, json FROM events WHERE seq > ? {} ORDER BY seq LIMIT ?"
        where: tuple[object, ...] = (asked.since,)
        if asked.camera is not None:
            query, where = query.format("AND camera = ?"), (asked.since, asked.camera)
        texts: list[str] = []
        n_bytes, next_since, is_more = 0, asked.since, False
        for seq, text in db.execute(query.format(""), (*where, asked.limit + 1)):
            if len(texts) == asked.limit or n_bytes > PAGE_MAX_BYTES:
                is_more = True
                break
            texts.append(text)
            n_bytes += len(text)
            next_since = seq
        numbers = self._numbers(db)
        if not is_more:
            next_since = max(next_since, int(str(numbers["last_seq"])))
        overlap = "SELECT first_seq, last_seq FROM gaps WHERE last_seq > ? AND first_seq <= ?"
        gaps = db.execute(f"{overlap} ORDER BY first_seq", (asked.since, next_since)).fetchall()
        rest = {"id": asked.id, **numbers, "next_since": next_since, "more": is_more, "gaps": gaps}
        return f'{json.dumps(rest)[:-1]}, "events": [{",".join(texts)}]}}'.encode()

    def _state(self, db: sqlite3.Connection, asked: StateQuestion) -> bytes:
        states = [json.loads(row[0]) for row in db.execute("SELECT json FROM states ORDER BY seq")]
        cameras = {s["camera"]: s for s in states if s["process"] == f"camera.{s['camera']}"}
        others = {s["process"]: s for s in states if s not in cameras.values()}
        newest = "SELECT seq, json FROM open_sightings ORDER BY seq DESC LIMIT ?"
        opened = reversed(db.execute(newest, (OPEN_MAX,)).fetchall())
        text = json.dumps(
            {
                "id": asked.id,
                **self._numbers(db),
                "cameras": cameras,
                "workers": others,
                "open_sightings": [json.loads(row[1]) for row in opened],
            },
            ensure_ascii=False,
        )
        rest = f'"summary": {self.summary}, "control": {self.control}'
        return f"{text[:-1]}, {rest}}}".encode()

    def _numbers(self, db: sqlite3.Connection) -> dict[str, object]:
        """The journal's first and last numbers, as this read sees them."""
        tops = "SELECT (SELECT max(seq) FROM events), (SELECT max(last_seq) FROM gaps)"
        last_event, last_gap = db.execute(tops).fetchone()
        pruned = "SELECT value FROM meta WHERE key = 'pruned_seq'"
        pruned_seq = int(db.execute(pruned).fetchone()[0])
        return {
            "schema": SCHEMA,
            "journal_id": self._journal_id,
            "oldest_seq": pruned_seq + 1,
            "last_seq": max(last_event or 0, last_gap or 0, pruned_seq),
            "last_camera_seq": dict(db.execute("SELECT camera, camera_seq FROM cameras")),
        }


def _parse(question: bytes) -> SinceQuestion | StateQuestion:
    """Return the checked question.

    Raises _BadQuestion in house wording.
    """
    try:
        asked = json.loads(question)
        if not isinstance(asked, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError):
        shown = question[:80].decode(errors="replace")
        form = '{"since": 0}'
        text = f"ask: expected a JSON object, got {shown!r}; for instance {form}"
        raise _BadQuestion(None, text) from None
    model = StateQuestion if "state" in asked else SinceQuestion
    try:
        return model.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        got = str(first["input"])[:80]
        text = f"ask.{where}: {first['msg'].lower()}, got {got!r}"
        raise _BadQuestion(asked.get("id"), text) from None


class _BadQuestion(ValueError):
    """A question that cannot be answered, and its id if it had one."""

    def __init__(self, question_id: object, text: str) -> None:
        super().__init__(text)
        self.id = question_id if isinstance(question_id, int | str) else None

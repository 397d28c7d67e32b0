"""The daemon's mouth: takes events from workers, numbers them, writes them down, publishes them.

It lives in the process that never restarts, in one thread ("publisher") that owns its sockets:

    PULL run_dir/events.sock -> OpenSightings -> number -> Journal (one commit a batch) -> PUB

A batch is what waits when the thread looks: one event is sent at once, a burst shares a commit.
In a flood it rests a millisecond between looks: larger batches cost a third less, readers too.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue

import zmq
from pydantic import ValidationError
from pydantic_core import to_json

from pipeline.errors import WorkerError
from pipeline.printable import printable_lines
from streamer.publishing.answers import Answers
from streamer.publishing.events import (
    SCHEMA,
    HeartbeatEvent,
    MatchEvent,
    PublishedTime,
    Reason,
    State,
)
from streamer.publishing.journal import Entry, Journal
from streamer.publishing.journal_keeper import JournalKeeper
from streamer.publishing.number_keeper import NumberKeeper
from streamer.publishing.numbering import Numbered, Numbering, StatusNote
from streamer.publishing.open_sightings import OpenSightings, Origin, Step
from streamer.publishing.options import PublishOptions
from streamer.publishing.publish_figures import JOURNAL_TROUBLE, PublishFigures, PublishSummary
from streamer.publishing.sink import CameraEnd, Handover
from streamer.publishing.sockets import (
    ServerKeys,
    Waker,
    bind,
    open_pub,
    open_pull,
    private_endpoints,
)
from streamer.redaction import redact
from streamer.reporting import Log, Tally

_BATCH = 256  # events a commit
_FLOOD = 4  # messages at once, from which on it pays to let some more gather
_GATHER_S = 0.001
_BATCHES_A_TURN = 16
_QUIET_MS = 100  # a stopping publisher waits so long for what is still under way
_DRAIN_MAX_S = 1.0
_PENDING_MAX = 10_000  # without numbers
_UNWRITTEN_MAX = 10_000  # with a full disk
_log = Log("publisher")


class Publisher:
    """Numbers, journals and publishes every event of a run, and answers what is asked about them.

    `start` binds (so that a port in use is known before any worker starts) and begins; the other
    methods may be called from any thread; `stop` returns when all has been sent.
    """

    def __init__(self, options: PublishOptions, journal: Journal, run_dir: Path) -> None:
        """journal: opened, and closed after `stop`, by the caller. run_dir: where workers find
        the socket to hand their events to."""
        self._options = options
        self._journal = journal
        self._run_dir = run_dir
        self._numbering = Numbering(journal)
        self._figures = PublishFigures()
        self._sightings = OpenSightings(
            [MatchEvent.model_validate_json(text) for text in journal.open_sightings()]
        )
        self._orders: SimpleQueue[Callable[[], list[Step | StatusNote]]] = SimpleQueue()
        self._pending: list[Step | StatusNote] = []
        self._unwritten: list[Entry] = []
        self.is_journal_well = True
        self._ended: dict[str, int] = {}  # the last life that has ended, by camera
        self._not_understood = Tally(_log, "messages of a worker could not be read")
        self._journal_trouble = Tally(_log, JOURNAL_TROUBLE)
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._error: BaseException | None = None
        self._waker = Waker()
        self._started_s = time.monotonic()
        self._next_heartbeat_s = 0.0
        self._last_oldest_seq = 1
        self.endpoint = options.endpoint
        self.ask_endpoint = options.ask_endpoint or ""

    def start(self) -> None:
        """Bind all sockets, end what the last run left open, begin.

        Raises ConfigError (address in use, keys missing); nothing stays open then. `endpoint` and
        `ask_endpoint` tell the addresses in use afterwards.
        """
        events, ask = self._options.check()
        with ExitStack() as undo:
            undo.callback(self._waker.close)
            self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            undo.callback(self._context.destroy, linger=0)
            self._keys = ServerKeys(self._context, self._options.curve_keys)
            undo.callback(self._keys.close)
            self._pull = open_pull(self._context, self._run_dir)
            private_live, private_ask = private_endpoints(self._run_dir)
            self._pub = open_pub(self._context, private_live)
            self._keys.put_on(self._pub)
            self.endpoint = bind(self._pub, events, "publish.endpoint")
            self._answers = Answers(self._context, self._journal, self._keys, private_ask)
            undo.callback(self._answers.stop)
            self.ask_endpoint = self._answers.bind(ask)
            undo.pop_all()
        self._keeper = JournalKeeper(self._journal, self._options)
        self._number_keeper = NumberKeeper(self._journal)
        # Now, not by an order to the thread: that would end what workers have told meanwhile too.
        self._pending += self._sightings.close("stopped")
        self._waker.wake()
        self._thread.start()
        self._answers.start()
        self._keeper.start()
        self._number_keeper.start()

    def publish_status(
        self,
        process: str,
        state: State,
        reason: str | None = None,
        counters: Mapping[str, int | float] | None = None,
    ) -> None:
        """Publish a worker's state ("camera.door", "matcher.0", "daemon")."""
        text = None if reason is None else printable_lines(redact(reason))[:2000]
        finite = {name: n for name, n in (counters or {}).items() if math.isfinite(n)}
        note = StatusNote(process, state, text, finite)
        self._order(lambda: [note])

    def close_open_sightings(
        self,
        reason: Reason,
        camera: str | None = None,
        worker: str | None = None,
        incarnation: int | None = None,
    ) -> None:
        """Write the missing `left` of open sightings: of all, of a camera, or of a dead worker.

        worker, incarnation: as the worker's sink names itself; call it once a worker is known
        dead. What it sent before it died comes first; what trickles in later leaves at once.
        """
        self._order(lambda: list(self._sightings.close(reason, camera, worker, incarnation)))

    def has_ended(self, camera: str, life: int = 0) -> bool:
        """Whether a matcher told the end of a camera's life: all of it came before, and left."""
        return self._ended.get(camera, -1) >= life

    def set_summary(self, summary: Mapping[str, object]) -> None:
        """Set what `{"state": true}` answers under "summary"; NaN becomes null."""
        self._answers.summary = to_json(dict(summary), inf_nan_mode="null").decode()

    def set_control(self, told: Mapping[str, object]) -> None:
        """Set what `{"state": true}` answers under "control"."""
        self._answers.control = to_json(dict(told)).decode()

    def summary(self) -> PublishSummary:
        """Return counts and latencies of what was published since the start."""
        return self._figures.summary(self._sightings.refused, self._troubles())

    def _troubles(self) -> tuple[str, ...]:
        clock = self._journal.time.trouble()
        journal = None if self.is_journal_well else JOURNAL_TROUBLE
        return tuple(text for text in (clock, journal) if text is not None)

    def check(self) -> None:
        """Raise WorkerError when the publisher's thread has died."""
        if self._error is not None:
            text = f"{type(self._error).__name__}: {self._error}"
            rule = "must publish for as long as the daemon runs"
            raise WorkerError.at("publisher", rule, text, "restart the daemon") from self._error

    def stop(self) -> None:
        """Publish what was queued or is under way, end open sightings, close; twice is fine.

        To be called when the workers have ended.
        """
        if self._is_stopping.is_set():
            return
        self._is_stopping.set()
        if self._thread.ident is None:  # never started
            self._waker.close()
            return
        self._waker.wake()
        self._thread.join()
        self._answers.stop()
        self._keeper.stop()
        self._number_keeper.stop()
        self._keys.close()
        self._context.term()
        self._waker.close()

    def _order(self, order: Callable[[], list[Step | StatusNote]]) -> None:
        self._orders.put(order)
        self._waker.wake()

    def _run(self) -> None:
        try:
            poller = zmq.Poller()
            poller.register(self._pull, zmq.POLLIN)
            poller.register(self._waker.fileno(), zmq.POLLIN)
            while not self._is_stopping.is_set():
                self._beat_if_due()
                wait_s = max(0.0, self._next_heartbeat_s - time.monotonic())
                ready = dict(poller.poll(int(wait_s * 1000) + 1))
                if self._waker.fileno() in ready:
                    self._waker.clear()
                if _FLOOD <= self._turn() < _BATCH:
                    time.sleep(_GATHER_S)
            self._finish()
        except BaseException as error:
            self._error = error
            _log.exception("the publisher died")
        finally:
            self._pull.close()
            self._pub.close()

    def _turn(self) -> int:
        """Publish everything that waits now; a worker's last words go before its `left`s.

        Returns how many messages the last batch had.
        """
        for _ in range(_BATCHES_A_TURN):  # bounded: heartbeats and orders come in a flood as well
            n_received = self._receive()
            self._flush()
            if n_received < _BATCH:
                break
        while True:
            try:
                order = self._orders.get_nowait()
            except Empty:
                break
            self._pending += order()
        self._flush()
        return n_received

    def _receive(self) -> int:
        """Take up to a batch of messages from workers; returns how many came."""
        if len(self._pending) > _PENDING_MAX:
            return 0  # no numbers to be had: the workers' queues hold on, then count losses
        for n_received in range(_BATCH):
            try:
                payload = self._pull.recv(zmq.NOBLOCK)
            except zmq.Again:
                return n_received
            try:
                handover = Handover.model_validate_json(payload)
            except ValidationError as error:
                self._not_understood.add(str(error.errors()[0]["type"]))
                continue
            if isinstance(what := handover.what, CameraEnd):
                self._pending += self._sightings.close(what.reason, what.ended_camera)
                self._ended[what.ended_camera] = what.life
                continue
            origin = Origin(handover.worker, handover.incarnation)
            self._pending += self._sightings.admit(what, origin)
        return _BATCH

    def _flush(self) -> None:
        """Number, write down and send what is pending, a batch a commit."""
        while self._pending:
            batch: list[Numbered] = []
            moment = self._numbering.moment()
            try:
                for what in self._pending[:_BATCH]:
                    batch.append(self._numbering.number(what, moment))
            except sqlite3.Error as error:  # a number used twice would be worse than a delay
                self._note_trouble(error)
            if not batch:
                return
            del self._pending[: len(batch)]
            self._write_down([numbered.entry for numbered in batch])
            for numbered in batch:
                self._pub.send(numbered.topic, zmq.SNDMORE)
                self._pub.send(numbered.entry.json.encode())
            self._figures.add(batch)
        if self._journal.is_block_low:
            self._number_keeper.reserve_soon()

    def _write_down(self, entries: list[Entry]) -> None:
        """Commit; what cannot be written now is kept for the next try, up to a limit."""
        self._unwritten = (self._unwritten + entries)[-_UNWRITTEN_MAX:]
        try:
            self._journal.append(self._unwritten)
        except sqlite3.Error as error:
            self._note_trouble(error)
        else:
            self._unwritten = []
            self.is_journal_well = True

    def _note_trouble(self, error: sqlite3.Error) -> None:
        self.is_journal_well = False
        self._journal_trouble.add(type(error).__name__)

    def _beat_if_due(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_heartbeat_s:
            return
        self._next_heartbeat_s = now_s + self._options.heartbeat_s
        if self._unwritten or self._pending:
            self._write_down([])
            self._flush()
        event = HeartbeatEvent(
            schema_=SCHEMA,
            journal_id=self._journal.journal_id,
            last_seq=self._journal.last_seq,
            last_camera_seq=self._journal.last_camera_seq,
            oldest_seq=self._oldest_seq(),
            n_open_sightings=len(self._sightings),
            is_journal_ok=not self._unwritten,
            heartbeat_s=self._options.heartbeat_s,
            uptime_s=round(now_s - self._started_s, 1),
            time=PublishedTime(published=datetime.now(UTC)),
        )
        self._pub.send_multipart([event.topic().encode(), event.model_dump_json().encode()])

    def _oldest_seq(self) -> int:
        try:
            self._last_oldest_seq = self._journal.oldest_seq()
        except sqlite3.Error as error:
            self._note_trouble(error)
        return self._last_oldest_seq

    def _finish(self) -> None:
        """Take what workers still had under way, end every sighting, beat once more."""
        deadline_s = time.monotonic() + _DRAIN_MAX_S
        self._turn()
        while self._pull.poll(_QUIET_MS) and time.monotonic() < deadline_s:
            self._turn()
        self._pending += self._sightings.close("stopped")
        self._flush()
        self._next_heartbeat_s = 0.0
        self._beat_if_due()

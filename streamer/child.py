"""The inside of a worker process: how it starts, what it may ask, how it ends.

The parent starts `python -c "from streamer.child import main; main(FD)"` (a fresh interpreter,
nothing forked, nothing re-imported from the parent) and hands over one socket. The worker gets
what it needs through it, later other args as well, and reports through it; when it closes, the
parent is gone and so is the worker.
"""

import contextlib
import ctypes
import importlib
import logging
import os
import pickle
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pipeline.offline  # noqa: F401  (before anything heavy can be imported)
from pipeline.errors import MagpieError
from streamer.heartbeat import Heartbeat
from streamer.redaction import redact
from streamer.reporting import LogFormat, configure_logging, hide_secrets_in_tracebacks
from streamer.run_dir import vanishing_told

GRACE_WITHOUT_PARENT_S = 1.5
REPEAT_EVERY_S = 1.0
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


class WorkerState(StrEnum):
    """Where a worker stands, as it goes over the wire."""

    STARTING = "starting"
    RUNNING = "running"
    RECONNECTING = "reconnecting"
    STALLED = "stalled"
    FROZEN = "frozen"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Birth:
    """What the parent tells a new worker; travels over their own socket only."""

    name: str
    target: str
    args: object
    run_dir: Path
    incarnation: int
    heartbeat: Path
    parent_pid: int
    log_level: str
    log_format: LogFormat = "text"


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has opened what it needs and works from now on."""


@dataclass(frozen=True, slots=True)
class Report:
    """A worker's state, and numbers that belong to it."""

    state: WorkerState
    reason: str | None
    counters: Mapping[str, int | float]


@dataclass(frozen=True, slots=True)
class Note:
    """Something that only the daemon wants to know (statistics for the summary)."""

    topic: str
    content: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Death:
    """Why the worker ends: an error's text, and whether it was a user's to mend."""

    text: str
    exit_code: int
    is_user_error: bool


Message = Ready | Report | Note | Death


class ChildContext:
    """What a worker function gets: its name, its place, and its line to the daemon."""

    def __init__(
        self,
        name: str,
        run_dir: Path,
        incarnation: int = 0,
        connection: Connection | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.name = name
        self.run_dir = run_dir
        self.incarnation = incarnation
        self._connection = connection
        self._heartbeat = heartbeat
        self._is_stopping = False
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        self._send_lock = threading.Lock()
        self._is_ready = False
        self._last: tuple[WorkerState, str | None] | None = None
        self._last_sent_s = 0.0
        self._told: deque[object] = deque(maxlen=1)  # only the newest counts

    def ready(self) -> None:
        """Tell the parent, once, that the work begins."""
        if not self._is_ready:
            self._is_ready = True
            self.beat()
            self._send(Ready())

    def beat(self) -> None:
        """Stamp the heartbeat; called by the loop that does the work, in every turn."""
        if self._heartbeat is not None:
            self._heartbeat.beat()

    def is_stopping(self) -> bool:
        """Whether this worker was asked to stop, or its parent is gone."""
        return self._is_stopping

    def stop(self) -> None:
        """Ask this worker to stop (the signal's and the tests' door).

        A pipe and not threading.Event: a signal that arrives inside Event.wait would deadlock.
        """
        self._is_stopping = True
        with contextlib.suppress(OSError):
            os.write(self._wake_writer, b"x")

    def wait(self, seconds: float) -> bool:
        """Sleep, and return True at once when asked to stop."""
        if not self._is_stopping:
            select.select([self._wake_reader], [], [], max(0.0, seconds))
        return self._is_stopping

    def stop_descriptor(self) -> int:
        """Return a descriptor that becomes readable when asked to stop (for select)."""
        return self._wake_reader

    def report(
        self, state: WorkerState, reason: str | None = None, **counters: int | float
    ) -> None:
        """Tell the daemon (and over the wire everybody) where this worker stands.

        A changed state or reason goes out at once; the same with new counters once a second.
        """
        now_s = time.monotonic()
        reason = None if reason is None else redact(reason)
        if (state, reason) == self._last and now_s - self._last_sent_s < REPEAT_EVERY_S:
            return
        self._last, self._last_sent_s = (state, reason), now_s
        self._send(Report(state, reason, counters))

    def note(self, topic: str, **content: object) -> None:
        """Hand the daemon statistics; they stay inside it."""
        self._send(Note(topic, content))

    def told(self) -> object:
        """Return the args that the parent has told since the last call, the newest; or None."""
        return self._told.pop() if self._told else None

    def tell(self, content: object) -> None:
        """Let this worker find other args (the parent's and the tests' door)."""
        self._told.append(content)

    def _send(self, message: Message) -> None:
        if self._connection is None:
            return
        try:
            with self._send_lock:
                self._connection.send(message)
        except OSError:
            self.stop()  # nobody listens any more


def main(descriptor: int) -> None:
    """Run one worker to its end, in this process; exits with its code."""
    hide_secrets_in_tracebacks()
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    sys.path[:] = connection.recv()  # first, so that everything the rest names can be found
    birth: Birth = pickle.loads(connection.recv_bytes())  # noqa: S301  (the parent's own socket)
    configure_logging(birth.name, birth.log_level, birth.log_format)
    context = ChildContext(
        birth.name, birth.run_dir, birth.incarnation, connection, Heartbeat(birth.heartbeat)
    )
    _tie_to_parent(context, connection, birth)
    code = _work(context, birth)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # native threads of networks and decoders must not hold up a stop


def _work(context: ChildContext, birth: Birth) -> int:
    """Call the worker's function; returns the process's exit code."""
    try:
        with vanishing_told(birth.run_dir):
            function_of(birth.target)(context, birth.args)
    except MagpieError as error:
        context._send(Death(redact(str(error)), error.exit_code, is_user_error=True))
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    except BaseException as error:  # the parent must learn of it, whatever it is
        logging.getLogger("magpie.child").exception("died of its own error")
        text = redact(f"{type(error).__name__}: {error}")
        context._send(Death(text, 1, is_user_error=False))
        return 1
    return 0


def function_of(target: str) -> Callable[..., Any]:
    """Return the function that "module:function" names."""
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _tie_to_parent(context: ChildContext, connection: Connection, birth: Birth) -> None:
    """Make the worker stop on SIGTERM, and end when its parent does, however that dies.

    The socket's end tells it everywhere; on Linux the kernel's signal tells it as well.
    """
    signal.signal(signal.SIGTERM, lambda *_: context.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the group; the parent decides
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        libc.prctl(_PR_SET_NAME, birth.name.encode()[:15])
    if os.getppid() != birth.parent_pid:
        context.stop()

    def watch() -> None:
        try:
            while True:
                context.tell(connection.recv())
        except (EOFError, OSError):
            context.stop()
            time.sleep(GRACE_WITHOUT_PARENT_S)
            os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()

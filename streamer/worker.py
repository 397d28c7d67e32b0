"""One worker process, seen from its parent: started, listened to, ended."""

import contextlib
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from os import getpid
from pathlib import Path
from typing import Literal

from pipeline.errors import WorkerError
from streamer.child import Birth, Death, Message, Ready, WorkerState
from streamer.heartbeat import Beats, Heartbeat
from streamer.reporting import LogFormat

_START = "import sys; from streamer.child import main; main(int(sys.argv[1]))"
_ROOT = str(Path(__file__).resolve().parents[1])

WorkerKind = Literal["matcher", "camera", "web", "query", "sink"]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One row of the process table.

    target: "module:function", imported by the worker only. args: picklable, handed to it.
    ready_within_s: from its start to its ready-ack. stall_after_s: longest silence of its beats.
    is_finite: its work has an end (a file), so an error that the user must mend is final.
    """

    name: str
    kind: WorkerKind
    target: str
    args: object
    ready_within_s: float
    stall_after_s: float
    is_finite: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """A worker's process is gone. was_ready: it had begun its work."""

    reason: str
    exit_code: int
    was_ready: bool
    death: Death | None


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker that was taken out of the run has ended; nothing more is heard of it."""


class WorkerProcess:
    """A running worker. Start workers from the main thread only: Linux ties a child's life to the
    thread that started it."""

    def __init__(
        self,
        spec: WorkerSpec,
        run_dir: Path,
        incarnation: int,
        log_level: str = "info",
        log_format: LogFormat = "text",
    ) -> None:
        """Start it; raises WorkerError when the system refuses the process or its heartbeat."""
        self.spec = spec
        self.incarnation = incarnation
        self.started_s = time.monotonic()
        self.is_ready = False
        self.last_state = WorkerState.STARTING
        self.death: Death | None = None
        self.end_reason: str | None = None  # set by who kills it
        self._untold: object = None
        self._heartbeat = Heartbeat.create(run_dir / f"{spec.name}.{incarnation}.beat")
        birth = Birth(
            name=spec.name,
            target=spec.target,
            args=spec.args,
            run_dir=run_dir,
            incarnation=incarnation,
            heartbeat=self._heartbeat.path,
            parent_pid=getpid(),
            log_level=log_level,
            log_format=log_format,
        )
        try:
            self._process, self.connection = _start_python(spec.name)
        except WorkerError:
            self._heartbeat.remove()
            raise
        with contextlib.suppress(OSError):  # it may have died already; poll tells
            self.connection.send([_ROOT, *sys.path])
            self.connection.send_bytes(pickle.dumps(birth))

    @property
    def pid(self) -> int:
        return self._process.pid

    def beats(self) -> Beats:
        """Return what its heartbeat says now."""
        return self._heartbeat.read()

    def tell(self, content: object) -> None:
        """Hand it something; what it could not take yet is replaced by what is newer."""
        self._untold = content
        self.tell_rest()

    def tell_rest(self) -> None:
        """Hand over what waits, if there is room in its socket now: nothing here may block."""
        if self._untold is None or not self._has_room():
            return
        with contextlib.suppress(OSError):  # its process has ended: `exit` tells
            self.connection.send(self._untold)
        self._untold = None

    def _has_room(self) -> bool:
        """Whether its socket takes a message: it is writable while three quarters are free."""
        return bool(select.select([], [self.connection], [], 0)[1])

    def messages(self) -> list[Message]:
        """Return what it has sent since the last call, without waiting."""
        found: list[Message] = []
        try:
            while self.connection.poll(0):
                message: Message = self.connection.recv()
                if isinstance(message, Ready):
                    self.is_ready = True
                if isinstance(message, Death):
                    self.death = message
                found.append(message)
        except (EOFError, OSError):
            pass  # its process has ended or is about to: `exit` tells
        return found

    def exit(self) -> Exit | None:
        """Return how its process ended, or None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return Exit(self._reason(code), code, self.is_ready, self.death)

    def _reason(self, code: int) -> str:
        if self.end_reason is not None:
            return self.end_reason
        if self.death is not None:
            return self.death.text
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"ended by itself with exit code {code}"

    def terminate(self) -> None:
        """Ask it to stop."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self, reason: str | None = None) -> None:
        """End it at once; `reason` is what its exit will say."""
        self.end_reason = self.end_reason or reason
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def close(self) -> None:
        """Free what the parent holds for it; ends the process if it still runs."""
        if self._process.poll() is None:
            self.kill()
            self._process.wait()
        self.connection.close()
        self._heartbeat.remove()


def _start_python(name: str) -> tuple["subprocess.Popen[bytes]", Connection]:
    """Start a fresh interpreter; returns its process and our end of its socket.

    It gets its own process group, so that ctrl-C reaches the parent only.
    """
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, str(theirs.fileno()), name],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError as error:
        ours.close()
        rule = f"its process could not be started ({error.strerror})"
        raise WorkerError.at(
            f"worker {name}", rule, remedy="free memory, or raise the limit of processes"
        ) from error
    finally:
        theirs.close()
    return process, Connection(ours.detach())

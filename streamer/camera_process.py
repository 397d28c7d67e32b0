"""A camera process: one source into one frame ring, and the only place that tries again.

Imports neither torch, openvino nor faiss: about 60 MB of its own, plus what the decoder holds.
"""

import gc
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.errors import SourceError
from streamer.bell import matcher_bell
from streamer.child import ChildContext, WorkerState
from streamer.errors import StalledError
from streamer.frame_ring import Drop, RingWriter, Skip
from streamer.pacer import Pacer
from streamer.sources.base import Damaged, LeftOut, Picture, Remark, SourceOptions, create_source
from streamer.sources.named_secrets import with_secrets

_FIRST_RETRY_S, _RETRY_S, _PATIENT_RETRY_S = 0.5, 2.0, 30.0
_JITTER = 0.2
_TURN_S = 0.5  # the longest sleep without a heartbeat
_DRAIN_S = 1.0  # a live ring's last frame is given so long
_DRAIN_TURN_S = 0.02
_LOOK_EVERY_NS = 500_000_000
_LEAST_SAME = 3
_SMALLEST_WH = (16, 16)


@dataclass(frozen=True, slots=True)
class CameraArgs:
    """What a camera process is started with.

    name: of its ring. matcher: whose bell is rung. is_spare: it is a main stream, whose pictures
    are read when they are needed; nobody has to have read the last ones.
    """

    name: str
    source: SourceOptions
    matcher: int = 0
    n_slots: int = 4
    is_spare: bool = False


def run_camera(context: ChildContext, args: CameraArgs) -> None:
    """Deliver a camera's pictures until it ends or is asked to stop.

    A recording that ends is reported as `ended`; a live stream that breaks is opened again, for
    ever. Raises the SourceError of a recording that cannot be read, and RingSpaceError.
    """
    camera = _Camera(context, args)
    context.report(WorkerState.STARTING)
    context.ready()
    try:
        if args.source.is_live:
            _run_live(context, camera)
        else:
            camera.deliver(on_first=lambda: None)
            camera.drain(float("inf"))
        is_ended = not context.is_stopping()
        context.report(
            WorkerState.ENDED if is_ended else WorkerState.STOPPED, None, **camera.counts()
        )
    finally:
        camera.close()


def _run_live(context: ChildContext, camera: "_Camera") -> None:
    """Deliver, and open again whatever breaks; returns when it ends by itself or is stopped."""
    retry = Retry()
    while not context.is_stopping():
        try:
            camera.deliver(on_first=retry.reset)
        except SourceError as error:
            if camera.is_recording:
                raise
            is_stalled = isinstance(error, StalledError)
            state = WorkerState.STALLED if is_stalled else WorkerState.RECONNECTING
            context.report(state, str(error), **camera.counts())
            gc.collect()  # the broken stream's decoder is in a circle, and memory is counted
            camera.wait(retry.after(error))
            if not context.is_stopping():
                context.report(WorkerState.RECONNECTING, str(error), **camera.counts())
        else:
            camera.drain(_DRAIN_S)
            return


@dataclass(slots=True)
class Retry:
    """How long to wait before a stream is opened again: 0.5, 1, 2, 2, 2 … s, give or take 20 %.

    Where the cause does not heal by itself (the server says no, the data is no video) the wait goes
    on doubling, up to 30 s: nothing will change soon, and some servers lock out who asks too often.
    """

    chance: random.Random = field(default_factory=random.Random)
    _failures: int = 0

    def reset(self) -> None:
        """The stream gives pictures."""
        self._failures = 0

    def after(self, error: SourceError) -> float:
        """Return the seconds to wait after one more failure."""
        longest_s = _RETRY_S if error.heals else _PATIENT_RETRY_S
        wait_s = min(longest_s, _FIRST_RETRY_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return wait_s * self.chance.uniform(1 - _JITTER, 1 + _JITTER)


@dataclass(slots=True)
class FrozenWatch:
    """Notices that a live picture stays the same, bit by bit; looks twice a second.

    A few pictures in a row that are the same say nothing of a camera that gives one a minute.
    """

    after_s: float  # 0: never
    _looked_ns: int = -_LOOK_EVERY_NS
    _since_ns: int = 0
    _last: int | None = None
    _n_same: int = 0

    def look(self, picture: Picture) -> bool | None:
        """Return whether the picture is frozen; None between two looks."""
        if picture.captured_ns - self._looked_ns < _LOOK_EVERY_NS:
            return None
        self._looked_ns = picture.captured_ns
        if not self.after_s:
            return False
        content = 0
        for plane in (picture.y, picture.u, picture.v):
            content = zlib.crc32(plane.tobytes(), content)
        self._n_same += 1
        if content != self._last:
            self._last, self._since_ns, self._n_same = content, picture.captured_ns, 0
        is_long = picture.captured_ns - self._since_ns >= self.after_s * 1e9
        return is_long and self._n_same >= _LEAST_SAME


class _Camera:
    """One camera's source and ring, and the loop between them."""

    def __init__(self, context: ChildContext, args: CameraArgs) -> None:
        self._context, self._options = context, args.source
        self._is_spare = args.is_spare
        self._source = create_source(with_secrets(args.source))
        self._pacer = Pacer(args.source.max_fps)
        self._ring = RingWriter(
            context.run_dir,
            args.name,
            context.incarnation,
            _SMALLEST_WH,  # grows with the first picture
            "newest" if args.source.is_live else "lossless",
            args.n_slots,
            matcher_bell(context.run_dir, args.matcher),
            args.is_spare,
        )

    @property
    def is_recording(self) -> bool:
        """Whether the source has an end of its own, so that opening it again makes no sense."""
        return self._options.kind in ("file", "folder", "test")

    def deliver(self, on_first: Callable[[], None]) -> None:
        """Write pictures into the ring until the source ends, fails or is to stop.

        on_first: called once, when there is a picture.
        """
        frozen_after_s = 0 if self.is_recording else self._options.frozen_after_s
        frozen, is_first, remark = FrozenWatch(frozen_after_s), True, None
        for picture in self._source.pictures(self.wait):
            self._context.beat()
            if isinstance(picture, Damaged):
                self._ring.drop(Drop.CORRUPT)
                continue
            if isinstance(picture, LeftOut):
                self._ring.skip(Skip.DECODER, picture.n)
                continue
            if isinstance(picture, Remark):
                remark = picture.text
                continue
            if is_first:
                is_first = False
                on_first()
            self._deliver_one(picture)
            is_frozen = frozen.look(picture)
            if is_frozen:
                reason = f"the picture has not changed for {frozen_after_s:g} s"
                self._context.report(WorkerState.FROZEN, reason, **self.counts())
            elif is_frozen is not None:
                self._context.report(WorkerState.RUNNING, remark, **self.counts())

    def wait(self, seconds: float) -> bool:
        """Sleep with heartbeats; returns True at once when asked to stop."""
        deadline_s = time.monotonic() + seconds
        while True:
            self._context.beat()
            left_s = deadline_s - time.monotonic()
            if self._context.wait(min(_TURN_S, max(0.0, left_s))):
                return True
            if left_s <= _TURN_S:
                return False

    def drain(self, timeout_s: float) -> None:
        """Wait until the matcher is done with the last frames.

        Not with a main stream's: the matcher keeps them until it learns that no more come.
        """
        deadline_s = time.monotonic() + (0.0 if self._is_spare else timeout_s)
        while self._ring.pending() and time.monotonic() < deadline_s:
            if self.wait(_DRAIN_TURN_S):
                return

    def counts(self) -> dict[str, int]:
        """Return the numbers that go with every report."""
        return {"decoded": self._ring.decoded}

    def close(self) -> None:
        self._ring.close()

    def _deliver_one(self, picture: Picture) -> None:
        if not self._pacer.is_due(picture):
            self._ring.skip(Skip.RATE)
            return
        while not self._ring.write(picture, timeout_s=_TURN_S):
            self._context.beat()
            if self._context.is_stopping():
                self._ring.drop(Drop.STOPPED)
                return

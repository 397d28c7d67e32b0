"""The matcher's process: the newest frames of the due cameras through the matcher, and out.

It knows no stage: pipeline/matcher.py does. It knows frames, reasons and clocks.
"""

import importlib
import select
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from pipeline.library_pages import give_back_pages
from pipeline.types import Frame, Sighting
from streamer.bell import Bell, Ringer, matcher_bell
from streamer.catalog_watch import CatalogWatch
from streamer.child import ChildContext
from streamer.feed import Feed
from streamer.feeds import Feeds
from streamer.frame_matcher import FrameMatcher
from streamer.identify_lane import IdentifyLane
from streamer.matcher_args import MatcherArgs
from streamer.matcher_creation import create_patiently
from streamer.matcher_figures import MatcherFigures, before_ms
from streamer.publishing.sink import EventSink
from streamer.reporting import Log, Tally

IDLE_S = 0.1  # longest sleep: cameras that give nothing still have their `left`s on time
GIVE_BACK_EVERY_S = 20.0  # first frames run code that later ones do not: 25 MB
GIVE_BACK_MAX_SHARE = 0.002  # of the time; 30 ms a call on a small machine
MAX_FAILURES_IN_A_ROW = 20
LIVE_PLACES = 2  # a camera's in the waiting room: a fresh look is better than one that waited long

Work = Callable[[list[Frame]], list[Sighting]]
Asks = Callable[[list[Frame], Collection[tuple[str, int]]], tuple[list[Sighting], list[Any]]]

log = Log("matcher")


def run_matcher(context: ChildContext, args: MatcherArgs) -> None:
    """Match the frames of the cameras in `args` until asked to stop (a worker's function)."""
    module, _, name = args.creator.partition(":")
    create: Callable[..., FrameMatcher] = getattr(importlib.import_module(module), name)
    began_s = time.monotonic()
    made = create_patiently(context, args, create)
    if made is None:
        return
    matcher, args = made
    give_back_pages()
    log.info("ready", cameras=len(args.feeds), after_s=time.monotonic() - began_s)
    with Bell(matcher_bell(context.run_dir, args.index)) as bell:
        loop = _Loop(context, args, matcher, bell)
        context.ready()
        try:
            loop.run()
        finally:
            loop.close()


class _Taken(NamedTuple):
    """What one turn works on: frames to search, those between searches, those due in which nothing
    moves; and the cameras that had none.
    """

    due: list[Frame]
    between: list[Frame]
    still: list[Frame]
    quiet: list[Feed]


class _Loop:
    """The follow lane; every turn stamps the heartbeat, unless the identify lane is stuck."""

    def __init__(
        self, context: ChildContext, args: MatcherArgs, matcher: FrameMatcher, bell: Bell
    ) -> None:
        self._context = context
        self._matcher = matcher
        self._bell = bell
        self._leave_after_ns = round(args.options.decide.leave_after_s * 1e9)
        self._watch = CatalogWatch({feed.name: feed.catalog for feed in args.feeds}, matcher)
        self._cameras = Feeds(context, args, self._watch)
        self._sink = EventSink(context.run_dir, context.name, context.incarnation)
        self._evidence = None
        if args.evidence is not None:
            from streamer.evidence import EvidenceWriter

            self._evidence = EvidenceWriter(args.evidence, lambda camera: matcher.catalogs[camera])
        self._figures = MatcherFigures()
        self._lane: IdentifyLane | None = None  # none: both lanes in turn
        if not args.options.lockstep:
            self._ringer = Ringer(matcher_bell(context.run_dir, args.index))
            self._lane = IdentifyLane(matcher, self._ringer.ring, self._figures.loads)
        self._trouble = Tally(log, "frames failed")
        self._n_failures_in_a_row = 0
        self._give_back_at_s = time.monotonic() + GIVE_BACK_EVERY_S / 4

    def run(self) -> None:
        while not self._context.is_stopping():
            if self._lane is None or not self._lane.is_stuck():
                self._context.beat()
            taken = self._take()
            if taken.between:
                self._pass_by(taken.between, self._matcher.coast)
            if taken.still:
                self._pass_by(taken.still, partial(self._ask, self._matcher.stay), still=True)
            if taken.due:
                self._work(taken.due)
            self._apply_answers()
            self._look_after(taken.quiet)
            is_idle = len(taken.quiet) == len(self._cameras)
            self._change_feeds()
            self._say()
            self._give_back_pages()
            if is_idle and not self._help():
                self._sleep()

    def close(self) -> None:
        if self._lane is not None:
            self._lane.close()
            self._ringer.close()
        self._say(is_last=True)
        self._sink.close()
        if self._evidence is not None:
            self._evidence.close()
        self._cameras.close()

    def _change_feeds(self) -> None:
        """End the feeds that are to go, begin with those that have their catalog now.

        Loading it took its time beside the work; nobody has waited.
        """
        for feed, reason in self._cameras.changes():
            feed.in_order.forget()
            if self._lane is not None:
                self._lane.forget(feed.name)
            self._send(self._matcher.end_camera(feed.name), reason)
            feed.close()
            self._figures.loads.forget(feed.name)
            self._sink.send_end(feed.name, feed.life, reason)
        for camera, catalog in self._watch.ready():
            coming = self._cameras.coming(camera)
            if coming is not None:
                self._matcher.begin_camera(camera, catalog, coming.regions)
                self._cameras.begin(camera)
            else:
                self._forget_looks(camera)
                self._send(self._matcher.switch_catalog(camera, catalog), "catalog_changed")
        self._cameras.say()

    def _help(self) -> bool:
        """Identify a look where every camera is a recording that waits for answers, or at its end.

        Nothing comes meanwhile that would have to be searched.
        """
        if self._lane is None or any(
            not camera.in_order.is_waiting and not camera.is_drained
            for camera in self._cameras.values()
        ):
            return False
        return self._lane.help()

    def _sleep(self) -> None:
        """Sleep until a camera rings, a stop is asked for, or it is time to look around."""
        select.select([self._bell.fileno(), self._context.stop_descriptor()], [], [], IDLE_S)
        self._bell.clear()

    def _take(self) -> _Taken:
        """Take a frame of each camera in turn, until as many are due as a search is best given."""
        taken = _Taken([], [], [], [])
        for camera in self._cameras.in_turn():
            frame = self._next_of(camera)
            if frame is None:
                taken.quiet.append(camera)
            elif not camera.pacer.is_due(frame):
                taken.between.append(frame)
            else:
                sharp = camera.with_sharper(frame)
                if camera.look_again_s and self._is_still(sharp, camera.look_again_s):
                    taken.still.append(sharp)
                else:
                    taken.due.append(sharp)
            camera.reader.set_due(camera.pacer.due_ns, camera.pacer.period_ns)
            if len(taken.due) == self._matcher.frames_at_once:
                break
        return taken

    def _is_still(self, frame: Frame, look_again_s: float) -> bool:
        with self._figures.loads.working_on([frame.camera]):
            return self._matcher.is_still(frame, look_again_s)

    def _next_of(self, camera: Feed) -> Frame | None:
        """Return a camera's frame, or None when it has none.

        A recording waits while answers are to come that are due: it loses nothing.
        """
        camera.is_held_back = camera.in_order.is_waiting
        frame = None if camera.is_held_back else camera.take()
        if frame is None:
            return None
        if camera.incarnation not in (None, frame.incarnation):
            self._forget_looks(camera.name)
            self._send(self._matcher.reset_camera(camera.name), "camera_lost")
        camera.incarnation = frame.incarnation
        camera.gaps.note(time.monotonic_ns())
        return frame

    def _work(self, frames: list[Frame]) -> None:
        """Match one batch and hand its sightings over; a batch that fails is counted, not fatal."""
        taken_ns = time.monotonic_ns()
        sightings = self._attempt(frames, self._search)
        if sightings is not None:
            waited_ms = {frame.camera: before_ms(frame, taken_ns) for frame in frames}
            for sighting in sightings:
                stage_ms = {**waited_ms.get(sighting.camera, {}), **sighting.stage_ms}
                self._send([replace(sighting, stage_ms=stage_ms)])
            for stages in (*waited_ms.values(), self._matcher.stage_ms):
                self._figures.add_stages(stages)
            self._figures.add_latency("capture to decision", (one.captured_ns for one in frames))
        self._give_back(frames, failed=sightings is None)

    def _search(self, frames: list[Frame]) -> list[Sighting]:
        if self._lane is None:
            return self._matcher.match(frames)
        return self._ask(self._matcher.follow, frames)

    def _ask(self, work: Asks, frames: list[Frame]) -> list[Sighting]:
        """Return what `follow` or `stay` tells, and let the looks that it asks for wait."""
        if self._lane is None:
            sightings, looks = work(frames, ())
            return [*sightings, *self._matcher.apply(self._matcher.identify(looks))]
        # A live camera's looks are made anew while they wait: an event is to be of just now.
        waiting = [
            (camera, track_id)
            for camera, track_id in self._lane.waiting()
            if not self._cameras[camera].reader.is_lossless
        ]
        sightings, looks = work(frames, waiting)
        for look in looks:
            is_lossless = self._cameras[look.camera].reader.is_lossless
            self._lane.put(look, None if is_lossless else LIVE_PLACES)
        for camera in (self._cameras[frame.camera] for frame in frames):
            if camera.reader.is_lossless:
                camera.in_order.ask([look for look in looks if look.camera == camera.name])
        return sightings

    def _pass_by(self, frames: list[Frame], work: Work, still: bool = False) -> None:
        """Follow what is known through frames that are not searched."""
        sightings = self._attempt(frames, work)
        self._send(sightings or [])
        self._give_back(frames, failed=sightings is None, still=still)

    def _attempt(self, frames: list[Frame], work: Work) -> list[Sighting] | None:
        """Return what the work gives, or None when it fails, which is counted."""
        try:
            with self._figures.loads.working_on([frame.camera for frame in frames]):
                sightings = work(frames)
        except Exception as error:  # whatever one odd picture does, the others must go on
            self._n_failures_in_a_row += 1
            if self._n_failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                raise
            self._trouble.add(type(error).__name__, len(frames))
            log.debug("a batch failed", error=f"{type(error).__name__}: {error}")
            return None
        self._n_failures_in_a_row = 0
        return sightings

    def _give_back(self, frames: list[Frame], failed: bool, still: bool = False) -> None:
        for frame in frames:
            self._cameras[frame.camera].release(frame, failed, still)
        self._figures.count_frames(len(frames), still)

    def _apply_answers(self) -> None:
        """Take in what the identify lane has found, and tell what it changes."""
        if self._lane is None:
            return
        for look, answer in self._lane.done():
            camera = self._cameras.get(look.camera)
            if camera is None:
                continue  # it is gone
            if camera.reader.is_lossless:
                camera.in_order.note(look, answer)
            else:
                self._apply(look, answer)
        for camera in self._cameras.values():
            for look, answer in camera.in_order.due():
                self._apply(look, answer)

    def _apply(self, look: Any, answer: Any) -> None:
        if answer is None:
            self._matcher.give_up(look)
            return
        self._send(self._matcher.apply([answer]))
        self._figures.add_stages(answer.stage_ms)
        self._figures.add_latency("capture to answer", [answer.stamp.captured_ns])

    def _forget_looks(self, camera: str) -> None:
        self._cameras[camera].in_order.forget()
        if self._lane is not None:
            self._lane.forget(camera)

    def _look_after(self, quiet: Sequence[Feed]) -> None:
        """End the sightings of cameras that give no frames, or whose source has ended.

        quiet: cameras that had none when they were asked.
        """
        now_ns = time.monotonic_ns()
        for camera in quiet:
            if camera.is_drained or camera.is_held_back:
                continue
            if camera.gaps.is_silent(now_ns, self._leave_after_ns):
                self._send(self._matcher.tick(camera.name, now_ns), "camera_lost")
            is_done = self._lane is None or self._lane.is_done_with(camera.name)
            if is_done and camera.ended_mark.exists():
                for look, answer in camera.in_order.due(is_last=True):
                    self._apply(look, answer)
                camera.end()
                self._figures.loads.end(camera.name)
                self._send(self._matcher.reset_camera(camera.name), "source_ended")
                self._say(is_last=True)
                self._sink.send_end(camera.name, camera.life)

    def _send(self, sightings: Sequence[Sighting], reason: str | None = None) -> None:
        """Hand sightings to the daemon; `reason` overrides why they left."""
        for sighting in sightings:
            if reason is not None and sighting.reason is not None:
                sighting = replace(sighting, reason=reason)
            if self._sink.send_sighting(sighting):
                self._figures.n_sightings += 1
            if self._evidence is not None:
                self._evidence.write(sighting)

    def _give_back_pages(self) -> None:
        """Give back memory that only loading and first frames needed, now and then."""
        began_s = time.monotonic()
        if began_s < self._give_back_at_s:
            return
        give_back_pages()
        took_s = time.monotonic() - began_s
        self._give_back_at_s = began_s + max(GIVE_BACK_EVERY_S, took_s / GIVE_BACK_MAX_SHARE)

    def _say(self, is_last: bool = False) -> None:
        """Tell the daemon the figures, once a second."""
        if is_last or self._figures.is_due():
            self._trouble.flush()
            n_failed = sum(self._trouble.total.values())
            looks = None if self._lane is None else self._lane.figures()
            self._figures.tell(self._context, n_failed, self._sink.n_lost, looks)

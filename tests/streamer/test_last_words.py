"""What a matcher tells last of a recording: its sightings' ends, then that it has ended."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from pipeline.options import MatcherOptions
from streamer.matcher_args import CameraFeed, MatcherArgs, ended_mark
from streamer.matcher_process import run_matcher
from streamer.publishing.events import MatchDraft
from streamer.publishing.sink import CameraEnd, Handover
from streamer.publishing.sockets import sink_path
from tests.fakes import write_scripted_catalog
from tests.streamer.camera_rig import DEADLINE_S, Context
from tests.streamer.ring_rig import Rings, picture

N = 3


@contextmanager
def running_matcher(run_dir: Path, args: MatcherArgs) -> Iterator[Context]:
    """A matcher's loop in a thread."""
    context = Context(run_dir)
    thread = threading.Thread(target=run_matcher, args=(context, args))
    thread.start()
    try:
        yield context
    finally:
        context.stop()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def handovers_until_end(run_dir: Path) -> Iterator[MatchDraft | CameraEnd]:
    """What the daemon would be handed, up to a camera's end."""
    with zmq.Context() as zmq_context, zmq_context.socket(zmq.PULL) as pull:
        pull.bind(f"ipc://{sink_path(run_dir)}")
        while pull.poll(1000 * DEADLINE_S):
            what = Handover.model_validate_json(pull.recv()).what
            yield what
            if isinstance(what, CameraEnd):
                return
    raise AssertionError("no end was told")


def test_a_recordings_end_is_told_after_its_last_sightings_and_by_the_same_way(
    rings: Rings, tmp_path: Path
) -> None:
    """1. An item is in view up to a recording's last frame. 2. The recording ends.
    Result: its `left` names the last frame, and the end comes behind it: on a way of its own it
    could come first, and the daemon would write a `left` that names the frame told last.
    """
    catalog = write_scripted_catalog(tmp_path / "shelf", appear=0)
    ring = rings.writer("door", 1, (64, 48), "lossless")
    for value in range(N):
        assert ring.write(picture(value))
    ended_mark(tmp_path, "door").touch()
    feed = CameraFeed("door", catalog)
    args = MatcherArgs(0, (feed,), MatcherOptions(), creator="tests.fakes:ScriptedMatcher")
    with running_matcher(tmp_path, args):
        *told, end = handovers_until_end(tmp_path)
    seen = [(w.type, w.reason, w.frame_number) for w in told if isinstance(w, MatchDraft)]
    assert seen == [("appeared", None, 0), ("left", "source_ended", N - 1)]
    assert end == CameraEnd(ended_camera="door")

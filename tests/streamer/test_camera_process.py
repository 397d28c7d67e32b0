"""The camera process: what it delivers, reports, counts, and how it comes back."""

import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from streamer.child import WorkerState
from streamer.errors import CodecError
from streamer.frame_ring import read_counters
from tests.streamer.camera_rig import DEADLINE_S, Rig
from tests.streamer.clips import moving_square, write_clip
from tests.streamer.mjpeg import QuietHandler, jpeg, serving
from tests.streamer.rtsp import RtspServer, is_rtsp_server_there

ROOT = Path(__file__).resolve().parents[2]


# --- recordings -------------------------------------------------------------------------


def test_a_file_is_delivered_whole_and_ends(rig: Callable[..., Rig], tmp_path: Path) -> None:
    camera = rig(url=str(write_clip(tmp_path / "a.mp4", 40)))
    assert camera.work_until_end() == list(range(40))
    assert camera.context.states() == [
        WorkerState.STARTING,
        WorkerState.RUNNING,
        WorkerState.ENDED,
    ]
    counters = read_counters(camera.run_dir, "door")
    assert (counters.decoded, counters.processed, counters.pending) == (40, 40, 0)


def test_a_file_waits_for_its_matcher_and_keeps_its_heart_beating(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    camera = rig(url=str(write_clip(tmp_path / "a.mp4", 40)))
    camera.wait_for(lambda: read_counters(camera.run_dir, "door").pending == 4)
    n_beats = len(camera.context.beats_s)
    camera.wait_for(lambda: len(camera.context.beats_s) > n_beats + 2)
    assert read_counters(camera.run_dir, "door").decoded == 4
    assert camera.work_until_end() == list(range(40))


def test_a_file_that_is_stopped_says_what_it_lost(rig: Callable[..., Rig], tmp_path: Path) -> None:
    camera = rig(url=str(write_clip(tmp_path / "a.mp4", 40)))
    camera.wait_for(lambda: read_counters(camera.run_dir, "door").pending == 4)
    n_beats = len(camera.context.beats_s)
    camera.wait_for(lambda: len(camera.context.beats_s) > n_beats + 2)  # it waits for credit
    camera.close()
    counters = read_counters(camera.run_dir, "door")
    assert counters.dropped == {"stopped": 1} and counters.pending == 4
    assert counters.settled().dropped == {"stopped": 1, "unread": 4}
    assert camera.context.state() == WorkerState.STOPPED


def test_a_file_that_cannot_be_read_raises(rig: Callable[..., Rig], tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video" * 1000)
    camera = rig(url=str(tmp_path / "notes.mp4"))
    camera.work_until_end()
    assert isinstance(camera.error, CodecError)


def test_frames_above_the_rate_are_skipped(rig: Callable[..., Rig], tmp_path: Path) -> None:
    camera = rig(url=str(write_clip(tmp_path / "a.mp4", 50)), max_fps=10)
    numbers = camera.work_until_end()
    counters = read_counters(camera.run_dir, "door")
    assert counters.decoded == 50 and counters.skipped == {"rate": 30}
    assert len(numbers) == counters.processed == 20


def test_damaged_pictures_are_counted(rig: Callable[..., Rig], tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    from PIL import Image

    for number in range(4):
        Image.fromarray(moving_square(number)).save(folder / f"{number}.png")
    (folder / "0.png").write_bytes(b"nothing")
    (folder / "2.png").write_bytes(b"nothing")
    camera = rig(url=str(folder))
    assert camera.work_until_end() == [1, 3]
    counters = read_counters(camera.run_dir, "door")
    assert (counters.decoded, counters.processed, counters.dropped) == (4, 2, {"corrupt": 2})


# --- live streams -----------------------------------------------------------------------


def test_a_live_camera_drops_for_a_slow_matcher_and_the_sum_holds(
    rig: Callable[..., Rig],
) -> None:
    camera = rig(url="test:?size=160x120&fps=200&frames=60")
    first = camera.next_frame()
    camera.wait_for(lambda: read_counters(camera.run_dir, "door").decoded >= first.number + 20)
    second = camera.next_frame()
    assert second.number >= first.number + 19
    camera.work_until_end()
    counters = read_counters(camera.run_dir, "door")
    assert counters.decoded == 60 and counters.pending == 0
    assert counters.dropped["overrun"] >= 15
    assert counters.processed + sum(counters.dropped.values()) == 60


def test_a_camera_that_nobody_answers_is_reconnecting_and_stops_at_once(
    rig: Callable[..., Rig],
) -> None:
    camera = rig(url="rtsp://anna:hunter2@127.0.0.1:9/1")
    camera.wait_for(lambda: len(camera.context.reports) >= 4)
    began_s = time.monotonic()
    camera.close()
    assert time.monotonic() - began_s < 2
    assert camera.context.states() == [
        WorkerState.STARTING,
        WorkerState.RECONNECTING,
        WorkerState.STOPPED,
    ]
    said = str(camera.context.reports)
    assert "nothing listens there" in said and "hunter2" not in said and "anna" not in said


class Picky(QuietHandler):
    """An MJPEG camera: /frozen shows one picture until `moves` is set; /silent says no more after
    ten pictures."""

    moves = threading.Event()
    over = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/snapshot":
            self.send_header("Content-Type", "image/jpeg")
            self.end_headers()
            self.wfile.write(jpeg(time.monotonic_ns() % 50))
            return
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        numbers = range(10) if self.path == "/silent" else itertools.count()
        with contextlib.suppress(ConnectionError):
            for number in numbers:
                moves = self.path != "/frozen" or self.moves.is_set()
                data = jpeg(number if moves else 0)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                if self.over.wait(0.1 if self.path == "/slow" else 0.02):
                    return
            self.over.wait(DEADLINE_S)


@pytest.fixture
def picky() -> Iterator[str]:
    Picky.moves.clear()
    Picky.over.clear()
    with serving(Picky) as address:
        yield address
        Picky.over.set()


def test_a_frozen_picture_is_reported_and_so_is_its_end(
    rig: Callable[..., Rig], picky: str
) -> None:
    camera = rig(url=f"http://{picky}/frozen", frozen_after_s=1)
    camera.wait_for(lambda: camera.context.state() == WorkerState.FROZEN)
    assert camera.context.reports[-1][1] == "the picture has not changed for 1 s"
    Picky.moves.set()
    camera.wait_for(lambda: camera.context.state() == WorkerState.RUNNING)
    camera.next_frame()


def test_a_stalled_stream_is_reported_and_opened_again(rig: Callable[..., Rig], picky: str) -> None:
    camera = rig(url=f"http://{picky}/silent", read_timeout_s=0.5)
    expected = [
        WorkerState.STARTING,
        WorkerState.RUNNING,
        WorkerState.STALLED,
        WorkerState.RECONNECTING,
        WorkerState.RUNNING,
    ]
    camera.wait_for(lambda: len(camera.context.states()) >= len(expected))
    assert camera.context.states()[: len(expected)] == expected
    assert read_counters(camera.run_dir, "door").decoded > 10


def test_a_camera_whose_clock_is_an_hour_ahead_says_so_while_it_runs(
    rig: Callable[..., Rig], tmp_path: Path, rtsp_with_faults: Callable[..., str]
) -> None:
    """Its sender reports jump by an hour. Result: the frames' times never leave this machine's."""
    clip = write_clip(tmp_path / "a.mp4", 50, options={"g": "10"})
    camera = rig(url=rtsp_with_faults(clip, sr_offset_s=[0, 3600], sr_every=2))
    walls_s = []
    while "s ahead: times of arrival are used" not in str(camera.context.reports[-1:]):
        walls_s.append(camera.next_frame().wall_ns / 1e9)
    assert camera.context.state() == WorkerState.RUNNING
    walls_s += [camera.next_frame().wall_ns / 1e9 for _ in range(10)]
    assert max(walls_s) - min(walls_s) < 30


def test_a_slow_camera_is_never_stalled(rig: Callable[..., Rig], picky: str) -> None:
    """Ten pictures a second, where 0.03 s of silence would be a stall of a faster one."""
    camera = rig(url=f"http://{picky}/slow", read_timeout_s=0.03)
    for _ in range(8):
        camera.next_frame()
    assert WorkerState.STALLED not in camera.context.states()


def test_a_snapshot_url_runs_on_and_on(rig: Callable[..., Rig], picky: str) -> None:
    camera = rig(url=f"http://{picky}/snapshot", fps=20)
    numbers = [camera.next_frame().number for _ in range(10)]
    assert numbers == sorted(numbers)
    assert camera.context.states() == [WorkerState.STARTING, WorkerState.RUNNING]


def test_frames_flow_again_soon_after_the_server_is_back(
    rig: Callable[..., Rig], tmp_path: Path, need_tool: Callable[[bool, str], None]
) -> None:
    """1. A server serves a clip with a key frame each 0.4 s. 2. It is stopped, and started again at
    the same port. Result: frames within 5 s plus a key frame's interval, in the same process."""
    need_tool(is_rtsp_server_there(), "GStreamer's RTSP server")
    clip = write_clip(tmp_path / "a.mp4", 50, options={"g": "10"})
    server = RtspServer(clip)
    try:
        camera = rig(url=server.url)
        before = [camera.next_frame() for _ in range(20)]
        server.stop()
        camera.wait_for(lambda: camera.context.state() == WorkerState.RECONNECTING)
        while (frame := camera.reader.take()) is not None:
            camera.reader.release(frame)
        server = RtspServer(clip, server.port)
        back_s = time.monotonic()
        after = [camera.next_frame() for _ in range(20)]
        assert (after[0].captured_ns / 1e9) - back_s < 5 + 0.4
        assert after[0].number > before[-1].number and after[0].incarnation == 0
        camera.wait_for(lambda: camera.context.state() == WorkerState.RUNNING)
    finally:
        server.stop()


# --- what the process weighs ------------------------------------------------------------

_WEIGH = """
import json, sys, threading
from pathlib import Path
import psutil
from streamer.camera_process import CameraArgs, run_camera
from streamer.child import ChildContext
from streamer.frame_ring import read_counters
from streamer.sources.base import SourceOptions

run_dir, url = Path(sys.argv[1]), sys.argv[2]
context = ChildContext("camera.door", run_dir)
args = CameraArgs("door", SourceOptions(url=url, realtime=True, loop=True))
camera = threading.Thread(target=run_camera, args=(context, args))
camera.start()
while read_counters(run_dir, "door").decoded < 40: context.wait(0.01)
uss = psutil.Process().memory_full_info().uss
heavy = sorted(set(sys.modules) & {"torch", "openvino", "faiss", "cv2", "ultralytics", "zmq"})
context.stop()
camera.join()
print(json.dumps({"uss": uss, "heavy": heavy}))
"""


def test_a_camera_process_stays_light_at_1080p(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "hd.mp4",
        [np.tile(moving_square(n, (320, 270)), (4, 6, 1)) for n in range(30)],
        size_wh=(1920, 1080),
        options={"preset": "ultrafast"},
    )
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _WEIGH, str(run_dir), str(clip)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    weighed = json.loads(done.stdout)
    assert weighed["heavy"] == []
    assert weighed["uss"] < 120e6

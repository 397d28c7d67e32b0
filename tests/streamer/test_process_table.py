"""Who runs: matchers first, cameras dealt out to them, nothing heavy named but by strings."""

import pickle
import re
from pathlib import Path

from streamer.camera_process import CameraArgs
from streamer.config import AppConfig, CameraOptions
from streamer.matcher_args import CameraFeed, MatcherArgs
from streamer.names import NAME_PATTERN
from streamer.process_table import build_process_table, matcher_of, rings
from streamer.publishing.events import camera_of


def config(n_cameras: int, matchers: int) -> AppConfig:
    region = (0.0, 0.0, 0.5, 0.5)
    cameras = {
        f"cam{n}": CameraOptions(
            url="test:", catalog=Path(f"shelf{n}"), regions=(region,) if n == 0 else ()
        )
        for n in range(n_cameras)
    }
    return AppConfig(cameras=cameras, matchers=matchers, evidence=Path("evidence"))


def test_matchers_come_first_and_share_the_cameras() -> None:
    table = build_process_table(config(3, 2))
    assert [row.name for row in table] == [
        "matcher.0", "matcher.1", "camera.cam0", "camera.cam1", "camera.cam2",
    ]  # fmt: skip
    first, second, *cameras = (row.args for row in table)
    assert isinstance(first, MatcherArgs) and isinstance(second, MatcherArgs)
    assert [feed.name for feed in first.feeds] == ["cam0", "cam2"]
    assert second.feeds == (CameraFeed("cam1", Path("shelf1"), (), 10),)
    assert first.feeds[0].regions == ((0.0, 0.0, 0.5, 0.5),)
    assert first.options.keep_evidence and first.evidence == Path("evidence")
    assert [args.matcher for args in cameras if isinstance(args, CameraArgs)] == [0, 1, 0]


def test_cameras_are_dealt_out_by_what_was_measured_of_them() -> None:
    table = build_process_table(config(3, 2), loads={"cam0": 0.6, "cam1": 0.2, "cam2": 0.3})
    first, second, *_ = (row.args for row in table)
    assert isinstance(first, MatcherArgs) and isinstance(second, MatcherArgs)
    assert [feed.name for feed in first.feeds] == ["cam0"]
    assert [feed.name for feed in second.feeds] == ["cam1", "cam2"]
    assert matcher_of(table) == {"cam0": 0, "cam1": 1, "cam2": 1}


def test_no_matcher_runs_without_a_camera() -> None:
    assert len(build_process_table(config(1, 4))) == 2


def test_rows_can_be_sent_to_another_process() -> None:
    for row in build_process_table(config(2, 1)):
        assert pickle.loads(pickle.dumps(row.args)) == row.args


def test_a_camera_may_be_silent_for_as_long_as_its_longest_call() -> None:
    slow = CameraOptions(url="rtsp://a/1", catalog=Path("shelf"), open_timeout_s=20.0)
    row = build_process_table(AppConfig(cameras={"a": slow}))[1]
    assert row.stall_after_s > 40.0
    assert not row.is_finite


def test_a_camera_with_a_small_stream_has_two_workers_and_is_one_camera() -> None:
    door = CameraOptions(
        url="rtsp://a/1", detect_url="rtsp://a/2", catalog=Path("shelf"), skip_frame="nonref"
    )
    hall = CameraOptions(url="test:", catalog=Path("shelf"))
    table = build_process_table(AppConfig(cameras={"hall": hall, "door": door}, matchers=2))
    assert [row.name for row in table] == [
        "matcher.0", "matcher.1", "camera.hall", "camera.door", "camera.door.main",
    ]  # fmt: skip
    feeds = [row.args.feeds for row in table if isinstance(row.args, MatcherArgs)]
    assert [(feed.name, feed.has_main) for (feed,) in feeds] == [("hall", False), ("door", True)]
    cameras = [row.args for row in table if isinstance(row.args, CameraArgs)]
    assert [(args.name, args.source.url, args.matcher, args.is_spare) for args in cameras] == [
        ("hall", "test:", 0, False),
        ("door", "rtsp://a/2", 1, False),
        ("door+main", "rtsp://a/1", 1, True),
    ]
    assert [args.source.skip_frame for args in cameras] == ["none", "none", "nonref"]
    assert rings(table) == {args.name: args.source for args in cameras}
    assert all(camera_of(row.name) in ("hall", "door", None) for row in table)
    assert not re.fullmatch(NAME_PATTERN, "door+main")


def test_networks_are_asked_twice_at_once_only_where_all_of_a_matchers_cameras_wait() -> None:
    film = CameraOptions(url="film.mp4", catalog=Path("shelf"), realtime=False)
    live = CameraOptions(url="rtsp://door/", catalog=Path("shelf"))

    def calls(**cameras: CameraOptions) -> int:
        args = build_process_table(AppConfig(cameras=cameras))[0].args
        assert isinstance(args, MatcherArgs)
        return args.options.engine.calls_at_once

    assert calls(one=film, other=film) == 2
    assert calls(one=film, door=live) == calls(door=live) == 0
    paced = film.model_copy(update={"realtime": True})
    assert calls(one=paced) == 0, "it is played as a live one"

"""Scenes are what they say, runs are asked for in the daemon's words, the sender notes pictures."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import material
from benchmarks.bench_latency import read_stamps, sending
from benchmarks.bench_stages import NETWORKS
from benchmarks.daemon_run import RunOptions
from benchmarks.material import Scene, draw_scene, packs_at, write_pictures
from benchmarks.network_cases import draw_inputs, network_cases, shapes_of
from benchmarks.recorded import frames_of, measure_decoding
from pipeline.engines import TAKE_PICTURES
from pipeline.options import EngineOptions, MatcherOptions
from pipeline.weights import Kind
from streamer.config_file import read_config
from streamer.sources.base import Picture, SourceOptions, create_source
from tests.streamer.clips import SIZE_WH, write_clip
from tests.streamer.rtsp import is_rtsp_server_there

SCENE = Scene(size_wh=(320, 180), fps=10, seconds=1.2, in_view=3, n_items=6)


def test_a_scene_shows_its_packs_one_after_another_inside_the_picture() -> None:
    shown = [packs_at(SCENE, t) for t in np.arange(0, 30, 0.1)]
    assert max(len(packs) for packs in shown) == SCENE.in_view
    assert np.mean([len(packs) for packs in shown]) > 0.85 * SCENE.in_view
    assert {number for packs in shown for number, _ in packs} == set(range(SCENE.n_items))
    for packs in shown:
        assert len({number for number, _ in packs}) == len(packs)
        for _, quad in packs:
            assert quad.min() > 0 and (quad.max(0) < SCENE.size_wh).all()


def test_a_scene_is_drawn_the_same_every_time_and_a_still_one_stands_still() -> None:
    first, again = list(draw_scene(SCENE)), list(draw_scene(SCENE))
    assert len(first) == 12 and first[0].shape == (180, 320, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    change = np.abs(first[0].astype(int) - first[-1]).mean()
    still = list(draw_scene(Scene(SCENE.size_wh, SCENE.fps, SCENE.seconds, 3, 6, still=True)))
    assert np.abs(still[0].astype(int) - still[-1]).mean() < change  # noise is left


def test_pictures_of_items_are_written_once(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 3)
    files = sorted(folder.rglob("*.png"))
    assert [file.parent.name for file in files] == ["pack-00000", "pack-00001", "pack-00002"]
    written_ns = [file.stat().st_mtime_ns for file in files]
    write_pictures(folder, 3)
    assert [file.stat().st_mtime_ns for file in files] == written_ns


def test_what_is_made_in_a_folder_beside_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon takes paths from beside its configuration file, which lies elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(material, "_build", lambda folder, *_: folder)
    monkeypatch.setattr(material, "_count_items", lambda catalog: 6)
    short = replace(SCENE, seconds=0.3)
    made = material.scene_material(Path("bench-output"), [], short)
    assert made.clip == tmp_path / "bench-output" / made.clip.name and made.clip.is_file()
    assert made.catalog.is_absolute()
    clip = tmp_path / "bench-output" / "clip.mp4"
    monkeypatch.setattr("catalog_tools.demo.clip.make_demo_clip", lambda folder, s: folder)
    assert material.demo_material(Path("bench-output"), []).clip == clip


def test_a_run_is_asked_for_in_words_that_the_daemon_knows(tmp_path: Path) -> None:
    options = MatcherOptions(engine=EngineOptions(engine="torch", device="cpu", threads=3))
    run = RunOptions(
        {"a": "x.mp4", "b": "y.mp4"},
        tmp_path / "shelf",
        seconds=7,
        matchers=2,
        camera={"loop": True, "realtime": True, "detect_fps": 5},
        matcher=options.model_dump(mode="json"),
    )
    (tmp_path / "run.json").write_text(json.dumps(run.as_config(tmp_path)))
    config = read_config(tmp_path / "run.json", {})
    assert list(config.cameras) == ["a", "b"]
    assert config.cameras["b"].loop and config.cameras["b"].detect_fps == 5
    assert (config.matchers, config.duration_s, config.matcher) == (2, 7, options)


def test_decoding_is_timed_a_frame_and_frames_are_kept(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 30)
    decoding = measure_decoding(clip, at_most=20)
    assert decoding.n_frames == 20 and decoding.core_ms > 0 and decoding.wall_ms > 0
    frames = frames_of(clip, "door", at_most=5, every=4)
    assert [frame.number for frame in frames] == [0, 4, 8, 12, 16]
    assert frames[0].size_wh == SIZE_WH
    assert not np.array_equal(frames[0].y, frames[-1].y)


@pytest.mark.parametrize("kind", NETWORKS)
def test_drawn_inputs_have_the_batch_and_no_two_seeds_are_alike(kind: Kind) -> None:
    for shape in shapes_of(kind):
        inputs, others = (draw_inputs(kind, 3, shape, seed) for seed in (0, 1))
        dtype = np.uint8 if kind in TAKE_PICTURES else np.float32
        assert all(len(array) == 3 and array.dtype == dtype for array in inputs)
        assert not np.array_equal(inputs[0], others[0])


def test_a_cpu_is_measured_by_threads_and_torch_has_f32_alone() -> None:
    options = EngineOptions(engine="torch", device="cpu", threads=2)
    cases = list(network_cases(options, ("detector", "comparer")))
    assert [(case.kind, case.threads, case.precision) for case in cases] == [
        ("detector", 2, "f32"),
        ("comparer", 2, "f32"),
    ]


@pytest.mark.slow
def test_the_sender_notes_each_picture_when_it_is_sent(
    tmp_path: Path, need_tool: Callable[[bool, str], None]
) -> None:
    need_tool(is_rtsp_server_there(), "GStreamer's RTSP server (system Python)")
    clip = write_clip(tmp_path / "clip.mp4", 50)
    came_ns = []
    with sending(clip, tmp_path / "stamps") as url:
        for picture in create_source(SourceOptions(url=url)).pictures(lambda _: False):
            if isinstance(picture, Picture):
                came_ns.append(picture.wall_ns)
            if len(came_ns) == 60:
                break
    sent_ns = np.array(read_stamps(tmp_path / "stamps"))
    assert len(sent_ns) >= 60 and (np.diff(sent_ns) > 0).all()
    assert abs(np.median(np.diff(sent_ns)) / 1e6 - 40) < 4  # 25 a second
    # Each picture's time is near that of one that was sent.
    nearest_ns = np.abs(sent_ns[None] - np.array(came_ns)[20:, None]).min(1)
    assert np.median(nearest_ns) / 1e6 < 20

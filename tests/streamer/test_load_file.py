"""Loads are kept beside the journal, and nothing about their file ever fails a run."""

import json
import logging
import os
from pathlib import Path

import pytest

from streamer.camera_load import Load
from streamer.load_file import MAX_BYTES, MAX_CAMERAS, REMEMBERED_S, LoadFile, load_path


def kept(path: Path) -> dict[str, dict[str, float]]:
    cameras: dict[str, dict[str, float]] = json.loads(path.read_text())["cameras"]
    return cameras


def test_loads_lie_beside_a_journal_that_stays(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert load_path(tmp_path / "5555.db", run_dir) == tmp_path / "5555.db.loads.json"
    assert load_path(run_dir / "journal.db", run_dir) is None


def test_what_one_run_measured_is_there_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "loads.json"
    first = LoadFile(path)
    assert first.loads() == {}
    first.keep({"door": Load(5.0, 10.0), "hall": Load(1.0, 10.0)})
    assert LoadFile(path).loads() == {"door": 0.5, "hall": 0.1}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["loads.json"]


def test_runs_count_by_their_length_and_a_long_past_at_most_ten_minutes(tmp_path: Path) -> None:
    path = tmp_path / "loads.json"
    LoadFile(path).keep({"door": Load(8640.0, 86400.0)})
    assert kept(path)["door"] == {"load": 0.1, "seconds": REMEMBERED_S}
    second = LoadFile(path)
    second.keep({"door": Load(1.0, 1.0)})  # while it runs
    second.keep({"door": Load(300.0, 600.0)})  # at its end: the whole of it, not once more
    assert kept(path)["door"] == {"load": pytest.approx(0.3), "seconds": REMEMBERED_S}


def test_cameras_of_another_run_stay_as_far_as_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "loads.json"
    LoadFile(path).keep({f"cam{n}": Load(1.0, 10.0) for n in range(MAX_CAMERAS)})
    LoadFile(path).keep({"door": Load(1.0, 10.0)})
    assert list(kept(path))[:2] == ["door", "cam0"] and len(kept(path)) == MAX_CAMERAS


def test_a_run_that_measured_nothing_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "loads.json"
    LoadFile(path).keep({})
    assert not path.exists()


def test_without_a_journal_that_stays_nothing_is_kept() -> None:
    file = LoadFile(None)
    file.keep({"door": Load(1.0, 2.0)})
    assert file.loads() == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"\xff\xfe\x00",
        b"[]",
        b"[" * 100_000,
        b'{"format": 2, "cameras": {}}',
        b'{"format": 1, "cameras": {"door": 0.5}}',
        b'{"format": 1, "cameras": {"door": {"load": "much", "seconds": 1}}}',
        b'{"format": 1, "cameras": {"door": {"load": -0.5, "seconds": 1}}}',
        b'{"format": 1, "cameras": {"door": {"load": NaN, "seconds": 1}}}',
        b'{"format": 1, "cameras": {"door": {"load": 1e999, "seconds": 1}}}',
        b'{"format": 1, "cameras": {"door": {"load": 0.5, "seconds": 0}}}',
        b'{"format": 1, "cameras": {}}' + b" " * MAX_BYTES,
    ],
)
def test_a_damaged_file_is_told_once_and_replaced(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "loads.json"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        file = LoadFile(path)
    assert file.loads() == {}
    assert [one.getMessage() for one in caplog.records] == [
        "the cameras' loads of earlier runs are not used"
    ]
    file.keep({"door": Load(1.0, 2.0)})
    assert LoadFile(path).loads() == {"door": 0.5}


def test_what_is_no_file_is_neither_read_nor_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    assert LoadFile(tmp_path / "pipe").loads() == {}
    folder = LoadFile(tmp_path / "folder")
    caplog.clear()
    for _ in range(3):
        folder.keep({"door": Load(1.0, 2.0)})
    assert [one.getMessage() for one in caplog.records] == ["the cameras' loads cannot be kept"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_folder_that_is_gone_costs_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    LoadFile(tmp_path / "gone" / "loads.json").keep({"door": Load(1.0, 2.0)})
    assert len(caplog.records) == 1

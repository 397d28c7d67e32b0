"""The page that a worker stamps and its parent reads."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamer.heartbeat import Beats, Heartbeat

ROOT = Path(__file__).resolve().parents[2]


def test_reader_sees_the_beats_that_another_mapping_stamped(tmp_path: Path) -> None:
    ours = Heartbeat.create(tmp_path / "camera.beat")
    theirs = Heartbeat(tmp_path / "camera.beat")
    assert ours.read() == Beats(0, 0, 0)
    assert ours.read().silent_s(time.monotonic_ns()) == 0.0
    before_ns = time.monotonic_ns()
    theirs.beat()
    theirs.beat()
    beats = ours.read()
    assert beats.n_beats == 2
    assert before_ns <= beats.first_ns <= beats.last_ns <= time.monotonic_ns()
    theirs.close()
    ours.remove()
    assert not (tmp_path / "camera.beat").exists()


def test_useful_time_runs_from_the_first_beat_to_the_newest() -> None:
    beats = Beats(first_ns=1_000_000_000, last_ns=13_500_000_000, n_beats=9)
    assert beats.useful_s == 12.5
    assert beats.silent_s(now_ns=14_000_000_000) == 0.5


def test_page_is_for_this_user_only_and_must_exist(tmp_path: Path) -> None:
    page = Heartbeat.create(tmp_path / "a.beat")
    assert (tmp_path / "a.beat").stat().st_mode & 0o777 == 0o600
    page.remove()
    with pytest.raises(FileNotFoundError):
        Heartbeat(tmp_path / "a.beat")


def test_no_reader_ever_sees_half_a_stamp(tmp_path: Path) -> None:
    """The page of a worker that beats as fast as it can, read as fast as we can."""
    page = Heartbeat.create(tmp_path / "busy.beat")
    code = (
        "import sys, time; from pathlib import Path; from streamer.heartbeat import Heartbeat\n"
        "page = Heartbeat(Path(sys.argv[1])); end = time.monotonic() + 1.5\n"
        "while time.monotonic() < end: page.beat()\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, str(page.path)], cwd=ROOT)
    newest_ns = 0
    while worker.poll() is None:
        for _ in range(2000):
            beats = page.read()
            assert beats.last_ns >= newest_ns, f"read {beats} after {newest_ns}"
            newest_ns = beats.last_ns
    assert worker.returncode == 0 and beats.n_beats > 1000
    page.remove()

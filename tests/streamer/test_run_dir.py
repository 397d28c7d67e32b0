"""Run directories: for the owner alone, and reclaimed when their daemon is dead."""

import os
import stat
from pathlib import Path

from streamer.run_dir import create_run_dir, reclaim_dead_runs
from tests.streamer.ring_rig import kill, start

_RUN = """
import sys
from pathlib import Path
from streamer.run_dir import create_run_dir
run_dir = create_run_dir(Path(sys.argv[1]))
(run_dir / "door.0.0.ring").write_bytes(b"x" * 1000)
print(run_dir, flush=True)
sys.stdin.read()
"""


def test_the_next_start_reclaims_what_a_killed_daemon_left(tmp_path: Path) -> None:
    dead, line = start(_RUN, tmp_path)
    left_behind = Path(line)
    assert reclaim_dead_runs(tmp_path) == [] and left_behind.is_dir()
    kill(dead)
    own = create_run_dir(tmp_path)
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    younger = tmp_path / f"magpie-{os.getpid()}-1"  # this number, but another process's start
    foreign = tmp_path / "magpie-notes"
    for folder in (younger, foreign):
        folder.mkdir()
    assert set(reclaim_dead_runs(tmp_path)) == {left_behind, younger}
    assert {path for path in tmp_path.iterdir()} == {own, foreign}

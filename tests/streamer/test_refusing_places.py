"""Every place that a run needs may refuse: one sentence and its exit code, never a traceback."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import WorkerError
from streamer.errors import RingSpaceError
from streamer.run_dir import create_run_dir, socket_path, vanishing_told
from tests.fakes import write_scripted_catalog
from tests.refusing_disks import run_with_tmpfs

MAGPIE = ("-c", "from streamer.cli import main; main()")


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return write_scripted_catalog(tmp_path / "shelf")


def run(
    tmp_path: Path, catalog: Path, mounts: dict[str | Path, str], *options: object, **env: str
) -> "subprocess.CompletedProcess[str]":
    """Run `magpie run` on a moving picture, where the given folders are disks that refuse."""
    command = ("run", "door=test:?size=320x240", "--catalog", catalog, *options)
    if "--publish" not in options:
        command += ("--publish", "tcp://127.0.0.1:0")
    return run_with_tmpfs(mounts, *MAGPIE, *command, XDG_STATE_HOME=str(tmp_path / "state"), **env)


def sentence(done: "subprocess.CompletedProcess[str]", exit_code: int) -> str:
    """Return the one sentence that a run ended in."""
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("magpie: ")]
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("magpie: ")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            "ro",
            r"run folder in shared memory: must be .*\(Read-only file system\), got '/dev/shm/m",
        ),
        ("nr_inodes=1", r"run folder in shared memory: .*\(No space left on device\).*--shm-size"),
        ("size=64k", r"cameras door: needs \d+ bytes of shared memory in /dev/shm, got \d+ free"),
    ],
)
def test_shared_memory_that_refuses(tmp_path: Path, catalog: Path, options: str, told: str) -> None:
    done = run(tmp_path, catalog, {"/dev/shm": options})
    assert re.match(told, sentence(done, 3))


def test_shared_memory_without_inodes_for_the_workers(tmp_path: Path, catalog: Path) -> None:
    done = run(tmp_path, catalog, {"/dev/shm": "nr_inodes=7"})
    assert "shared memory" in sentence(done, 3) or "could not be written" in sentence(done, 3)


@pytest.mark.parametrize("option", ["--evidence", "--summary-json", "--journal"])
def test_a_folder_that_the_user_named_and_that_refuses(
    tmp_path: Path, catalog: Path, option: str
) -> None:
    (tmp_path / "disk").mkdir()
    done = run(tmp_path, catalog, {tmp_path / "disk": "ro"}, option, tmp_path / "disk" / "it")
    told = sentence(done, 2)
    assert "must be a folder that this user can write (Read-only file system)" in told


def test_the_folder_of_a_socket_that_refuses(tmp_path: Path, catalog: Path) -> None:
    (tmp_path / "taken").touch()
    endpoint = f"ipc://{tmp_path / 'taken' / 'events'}"
    told = sentence(run(tmp_path, catalog, {}, "--publish", endpoint), 2)
    assert told.startswith("publish.endpoint: must be a folder that this user can write")


def test_the_default_journal_where_the_state_folder_refuses(tmp_path: Path, catalog: Path) -> None:
    (tmp_path / "state").mkdir()
    done = run(tmp_path, catalog, {tmp_path / "state": "ro"}, "--publish", "tcp://127.0.0.1:5599")
    assert "journal folder: must be a folder that this user can write" in sentence(done, 2)


def test_commands_that_need_no_temporary_folder_run_without_one() -> None:
    refusing: dict[str | Path, str] = {"/tmp": "ro", "/var/tmp": "ro", "/usr/tmp": "ro"}
    there = {folder: how for folder, how in refusing.items() if Path(folder).is_dir()}
    code = "import os; os.chdir('/proc'); os.environ.pop('TMPDIR', None); " + MAGPIE[1]
    done = run_with_tmpfs(there, "-c", code, "config", "reference")
    assert done.returncode == 0 and "cameras:" in done.stdout, done.stderr


_TOUCH_WHEN_FULL = """
import sys
from pathlib import Path
from streamer.frame_counters import CountsFile, counts_path
from streamer.heartbeat import Heartbeat
from pipeline.errors import MagpieError
folder = Path(sys.argv[1])
run_dir = folder / "run"
run_dir.mkdir()
open(folder / "all", "wb", 0).write(bytes(65536))
for create in (
    lambda: Heartbeat.create(run_dir / "matcher.0.1.beat").beat(),
    lambda: CountsFile.create(counts_path(run_dir, "door", 1)).count_written(),
):
    try:
        create()
    except MagpieError as error:
        print(type(error).__name__, error)
print(list(run_dir.iterdir()))
"""


def test_full_shared_memory_is_told_and_kills_nobody(tmp_path: Path) -> None:
    """A page of shared memory that is not there is a SIGBUS for whoever touches it."""
    done = run_with_tmpfs({tmp_path: "size=64k"}, "-c", _TOUCH_WHEN_FULL, tmp_path)
    assert done.returncode == 0, done
    worker, camera, rest = done.stdout.splitlines()
    assert worker.startswith("RingSpaceError worker matcher.0.1: needs 64 bytes of shared memory")
    assert camera.startswith("RingSpaceError camera 'door': needs")
    assert rest == "[]"
    assert issubclass(RingSpaceError, WorkerError)


def test_a_run_folder_that_vanishes_is_told_instead_of_what_it_led_to(tmp_path: Path) -> None:
    run_dir = create_run_dir(tmp_path)
    with pytest.raises(WorkerError, match="run folder in shared memory: must stay while"):
        with vanishing_told(run_dir):
            shutil.rmtree(run_dir)
            (run_dir / "door.1.0.ring").stat()
    run_dir.mkdir()
    with pytest.raises(FileNotFoundError), vanishing_told(run_dir):
        (run_dir / "door.1.0.ring").stat()


def test_a_path_too_long_for_a_socket_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"a socket's path may have 107 bytes.*TMPDIR"):
        socket_path(tmp_path / ("x" * 100), "door.credit")

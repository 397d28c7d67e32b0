"""A folder is made ready by doing what will be done there; a refusal is one sentence."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, WorkerError
from pipeline.writable import (
    as_refusal,
    expand_home,
    make_file_ready,
    make_ready,
    user_folder,
    writing,
)
from tests.refusing_disks import ROOT, run_with_tmpfs

_MAKE = """
import sys
from pathlib import Path
from pipeline.errors import ConfigError
from pipeline.writable import make_ready
try:
    make_ready(Path(sys.argv[1]), "evidence", "choose another")
except ConfigError as error:
    print(error)
"""


def test_a_folder_is_made_with_all_above_it_and_left_empty(tmp_path: Path) -> None:
    make_ready(tmp_path / "a" / "b", "evidence", "choose another", mode=0o700)
    assert list((tmp_path / "a" / "b").iterdir()) == []
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    make_ready(tmp_path / "a" / "b", "evidence", "choose another")


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("file", "File exists"),
        ("file/inside", "Not a directory"),
        ("/proc/nowhere", "No such file or directory"),
        ("x" * 300, "File name too long"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_what_is_no_folder_is_said(tmp_path: Path, name: str, cause: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as raised:
        make_ready(tmp_path / name, "evidence", "choose another")
    rule = f"evidence: must be a folder that this user can write ({cause}), got "
    assert str(raised.value).startswith(rule)
    assert str(raised.value).endswith("; choose another")


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ("ro", "Read-only file system"),
        ("nr_inodes=1", "No space left on device"),
    ],
)
def test_a_disk_that_refuses_is_said(tmp_path: Path, options: str, cause: str) -> None:
    done = run_with_tmpfs({tmp_path: options}, "-c", _MAKE, tmp_path)
    assert f"this user can write ({cause}), got '{tmp_path}'; choose" in done.stdout, done.stderr


def test_a_full_disk_is_found_though_its_folders_can_still_be_made(tmp_path: Path) -> None:
    fill = "import sys; open(sys.argv[1] + '/all', 'wb', 0).write(bytes(65536))\n"
    done = run_with_tmpfs({tmp_path: "size=64k"}, "-c", fill + _MAKE, tmp_path)
    assert "this user can write (No space left on device)" in done.stdout, done.stderr


def test_a_limit_on_file_sizes_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MAKE, str(tmp_path)],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "this user can write (File too large)" in done.stdout, done.stderr


def test_a_file_is_ready_when_it_is_new_when_it_is_there_and_when_it_is_a_device(
    tmp_path: Path,
) -> None:
    make_file_ready(tmp_path / "new" / "summary.json", "summary_json", "choose another")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "old.json").write_text("kept")
    make_file_ready(tmp_path / "old.json", "summary_json", "choose another")
    assert (tmp_path / "old.json").read_text() == "kept"
    make_file_ready(Path("/dev/null"), "summary_json", "choose another")


def test_a_folder_where_a_file_should_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be a file .*Is a directory.*; choose another"):
        make_file_ready(tmp_path, "summary_json", "choose another")


def test_a_write_that_fails_is_told_with_its_place() -> None:
    full = Path("/dev/full")
    with (
        pytest.raises(WorkerError, match=r"summary_json: could not be written \(No space left"),
        writing(full, "summary_json", "free some space", WorkerError),
    ):
        full.write_text("a")


def test_a_users_folder_is_where_the_variable_says_unless_that_is_nonsense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, expected in (
        ("", tmp_path / ".s"),
        ("no/root", tmp_path / ".s"),
        ("/s", Path("/s")),
    ):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert user_folder("XDG_STATE_HOME", "~/.s", "name one") == expected


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="journal: the user whose home folder it names has none"):
        expand_home("~nobody-of-this-name/x", "journal")
    code = (
        "import os; from pipeline.errors import ConfigError\n"
        "from pipeline.weights import cache_dir, weights_folders\n"
        "os.setuid(54321); os.environ.pop('HOME', None)\n"
        "print(weights_folders()[-1].name)\n"
        "try: cache_dir()\n"
        "except ConfigError as error: print(error)\n"
    )
    if os.getuid() != 0:
        pytest.skip("only root can become a user that has no entry")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={k: v for k, v in os.environ.items() if k not in ("MAGPIE_CACHE", "XDG_CACHE_HOME")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    weights, told = done.stdout.splitlines()
    assert weights == "weights"  # the shipped ones can still be found
    assert told == ("XDG_CACHE_HOME: this user has no home folder; name a folder in MAGPIE_CACHE")


def test_the_last_door_tells_a_refusing_disk_and_nothing_else() -> None:
    told = as_refusal(FileNotFoundError(2, "No such file or directory", "/x"))
    assert (
        str(told)
        == "/x: cannot be used (No such file or directory); free it, or choose another place"
    )
    assert as_refusal(BrokenPipeError(32, "Broken pipe")) is None

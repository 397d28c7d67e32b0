"""A user's mistake: one sentence (where: rule, got; remedy), its exit code, never a traceback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def shelf(tmp_path: Path) -> str:
    """A directory that passes for a catalog until a matcher opens it."""
    folder = tmp_path / "shelf"
    (folder / "generations" / "000001").mkdir(parents=True)
    (folder / "CURRENT").write_text("1\n")
    return str(folder)


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def magpie(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from streamer.cli import main; main()", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
    )


def sentence(tmp_path: Path, *arguments: str, exit_code: int = 2) -> str:
    """Return the one sentence that a mistake ends in, without `magpie: `."""
    done = magpie(tmp_path, *arguments)
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    # What other runs of this machine left behind is tidied up, and logged, by whoever starts next.
    lines = [line for line in done.stderr.splitlines() if "removed what a dead run" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("magpie: ")
    assert ": " in lines[0].removeprefix("magpie: ")
    return lines[0].removeprefix("magpie: ")


def test_file_that_is_not_there(tmp_path: Path, shelf: str) -> None:
    told = sentence(tmp_path, "run", "clip.mp4", "--catalog", shelf)
    assert told == (
        "source 'clip.mp4': no such file; expected rtsp://, rtsps://, http(s)://, "
        "a device number, a file, a folder or test:; check the path"
    )


def test_wrong_scheme_and_no_password(tmp_path: Path, shelf: str) -> None:
    told = sentence(tmp_path, "run", "htp://root:hunter2@cam/1", "--catalog", shelf)
    assert "expected rtsp://, rtsps://, http(s)://" in told and "got 'htp://***@cam/1'" in told
    assert "hunter2" not in told


def test_no_source_at_all(tmp_path: Path, shelf: str) -> None:
    assert "a run needs at least one source" in sentence(tmp_path, "run", "--catalog", shelf)


def test_no_catalog_at_all(tmp_path: Path) -> None:
    told = sentence(tmp_path, "run", "door=test:")
    assert told == (
        "cameras.door.catalog: a camera needs a catalog; give --catalog DIR or a `catalog:` line"
    )


def test_catalog_that_is_not_there(tmp_path: Path) -> None:
    told = sentence(tmp_path, "run", "test:", "--catalog", "nowhere")
    assert "nowhere" in told and "magpie catalog build" in told


def test_catalog_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = sentence(tmp_path, "run", "test:", "--catalog", "empty")
    assert "empty" in told and "magpie catalog build" in told


def test_port_in_use(tmp_path: Path, shelf: str, used_port: int) -> None:
    endpoint = f"tcp://127.0.0.1:{used_port}"
    told = sentence(tmp_path, "run", "test:", "--catalog", shelf, "--publish", endpoint)
    assert "another program uses it" in told and endpoint in told


def test_address_that_others_can_reach_without_keys(tmp_path: Path, shelf: str) -> None:
    told = sentence(tmp_path, "run", "test:", "--catalog", shelf, "--publish", "tcp://0.0.0.0:5599")
    assert "(--publish)" in told or "publish" in told
    assert "without keys it must be a loopback address" in told and "--insecure" in told


def test_endpoint_of_the_wrong_form(tmp_path: Path, shelf: str) -> None:
    told = sentence(tmp_path, "run", "test:", "--catalog", shelf, "--publish", "5555")
    assert "expected tcp://HOST:PORT" in told


@pytest.mark.parametrize("command", [["run", "--config"], ["config", "check"]])
def test_unknown_key_with_its_line(tmp_path: Path, shelf: str, command: list[str]) -> None:
    (tmp_path / "my.yaml").write_text(
        f"catalog: {shelf}\ncameras:\n  door:\n    url: 'test:'\n    max_fsp: 5\n"
    )
    told = sentence(tmp_path, *command, "my.yaml")
    assert told == "my.yaml: cameras.door.max_fsp (line 5): unknown key; did you mean 'max_fps'?"


def test_camera_names_must_differ(tmp_path: Path, shelf: str) -> None:
    told = sentence(tmp_path, "run", "a=test:", "a=test:", "--catalog", shelf)
    assert "each camera needs its own name, got 'a'" in told


def test_journal_that_cannot_be_written(tmp_path: Path, shelf: str) -> None:
    (tmp_path / "notes.txt").write_text("no journal at all " * 100)
    told = sentence(
        tmp_path, "run", "test:", "--catalog", shelf, "--journal", "notes.txt",
        "--publish", "tcp://127.0.0.1:0",
    )  # fmt: skip
    assert "notes.txt" in told and "journal" in told


def test_evidence_folder_that_cannot_be_made(tmp_path: Path, shelf: str) -> None:
    (tmp_path / "taken").touch()
    told = sentence(tmp_path, "run", "test:", "--catalog", shelf, "--evidence", "taken")
    assert told == (
        "evidence: must be a folder that this user can write (File exists), "
        "got 'taken'; choose another"
    )


def test_status_without_a_daemon(tmp_path: Path, used_port: int) -> None:
    told = sentence(tmp_path, "status", "--endpoint", f"tcp://127.0.0.1:{used_port}", exit_code=3)
    assert "a daemon must answer" in told and "magpie run" in told


def test_unknown_option_is_usage_too(tmp_path: Path) -> None:
    done = magpie(tmp_path, "run", "test:", "--catlog", "x")
    assert done.returncode == 2
    assert "--catlog" in done.stderr and "Traceback" not in done.stderr


def test_config_reference_prints_the_file_in_configs(tmp_path: Path) -> None:
    done = magpie(tmp_path, "config", "reference")
    assert done.returncode == 0
    assert done.stdout == (ROOT / "configs" / "reference.yaml").read_text()


def test_probe_picture_on_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "full.png").symlink_to("/dev/full")
    told = sentence(tmp_path, "probe", "test:", "--seconds", "0.5", "--picture", "full.png")
    assert told == (
        "--picture: must be a file that can be written (No space left on device), "
        "got 'full.png'; free some disk or choose another"
    )


def test_names_of_another_encoding_and_with_escape_codes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\x1b[2J\nmagpie: ok")
    told = sentence(tmp_path, "catalog", "list", name)
    assert told.startswith(r"catalog 'caf\udce9\x1b[2J\nmagpie: ok': no such directory")

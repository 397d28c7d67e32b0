"""What was changed while a daemon ran outlives it; a configuration that is written anew is read
again, and only what changed in it is done."""

import json
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from streamer.control.requests import (
    AddCamera,
    CameraView,
    ChangeCamera,
    PauseCamera,
    RefusedError,
    Reload,
    Reloaded,
    RemoveCamera,
)
from tests.end_to_end.daemon_bench import (
    MAGPIE,
    RunningDaemon,
    magpie,
    running_daemon,
    write_config,
)
from tests.end_to_end.test_daemon import LIVE, first
from tests.end_to_end.test_recovery import ALWAYS
from tests.fakes import wait_until, write_scripted_catalog

NOBODY = "rtsp://me:Geheim77@127.0.0.1:9/s"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return write_scripted_catalog(tmp_path / "shelf", **ALWAYS)


def cameras(shelf: Path, *names: str, **more: Any) -> dict[str, Any]:
    return {"catalog": str(shelf), "cameras": {name: {"url": LIVE} for name in names}, **more}


def command(daemon: RunningDaemon, *words: str) -> str:
    return magpie(*words, *where_is(daemon))


def where_is(daemon: RunningDaemon) -> list[str]:
    return ["--endpoint", daemon.endpoint, "--ask", daemon.ask_endpoint]


def test_what_was_changed_while_running_is_so_after_a_restart(tmp_path: Path, shelf: Path) -> None:
    """1. Of three cameras one is changed, one removed, one paused; a fourth is added, whose URL
    holds a password. 2. The daemon is killed and started again with the same configuration.

    Result: all is as it was; the file of it is its user's alone; nothing that is told or logged
    holds the password; `magpie status` says whose word counts.
    """
    config = cameras(shelf, "hall", "door", "yard")
    with running_daemon(tmp_path, config) as daemon:
        wait_until(lambda: daemon.run_dirs() and (daemon.run_dirs()[0] / "control").exists())
        for request in (
            ChangeCamera(name="hall", options={"max_fps": 7}),
            RemoveCamera(name="door"),
            PauseCamera(name="yard"),
            AddCamera(name="gate", options={"url": NOBODY}),
        ):
            daemon.ask(request, CameraView)
        daemon.wait_for("gate", "reconnecting")
        daemon.process.kill()
        daemon.process.wait()
    kept = tmp_path / "journal.db.state.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and "Geheim77" in kept.read_text()
    with running_daemon(tmp_path, config) as daemon:
        daemon.wait_for("gate", "reconnecting")
        views = daemon.views()
        assert list(views) == ["hall", "yard", "gate"]
        assert views["hall"].options["max_fps"] == 7 and views["hall"].is_changed
        assert views["yard"].is_paused and views["yard"].matcher is None
        assert views["gate"].options["url"] == "rtsp://***@127.0.0.1:9/s"
        status = command(daemon, "status")
        assert "camera.gate is added while running" in status
        assert "camera.hall is changed while running" in status
        assert "camera.door of the configuration was removed while running" in status
        told = [status, repr(views), command(daemon, "camera", "list", "--json")]
        assert daemon.stop() == 0
        told += [daemon.log.read_text(), (tmp_path / "summary.json").read_text()]
    assert not any("Geheim" in text for text in told)


def test_a_damaged_file_of_changes_is_refused_and_left_as_it_is(
    tmp_path: Path, shelf: Path
) -> None:
    kept = tmp_path / "journal.db.state.json"
    for text in ("{", '{"format": 1, "cameras": {"door": {"url": "rtsp://me:Geheim77@a/"}}}'):
        kept.write_text(text)
        with running_daemon(tmp_path, cameras(shelf, "hall")) as daemon:
            assert daemon.process.wait(20) == 2
        log = daemon.log.read_text()
        assert "journal.db.state.json' is damaged" in log.replace("': is", "' is")
        assert "move it away" in log and "Geheim" not in log
        assert kept.read_text() == text


def test_only_what_changed_in_the_file_is_done_when_it_is_read_again(
    tmp_path: Path, shelf: Path
) -> None:
    """1. Three cameras run, one of them was changed, another one added. 2. The file adds one, drops
    one, changes the options of one and a key of the matcher. 3. SIGHUP, then `magpie reload`.

    Result: so it is done; who is not named runs on; the key is said to need a restart.
    """
    file = tmp_path / "config.yaml"
    config = cameras(shelf, "hall", "door", "yard")
    with running_daemon(tmp_path, config, file=file) as daemon, daemon.subscribe() as events:
        hall = first(events, "appeared", camera="hall")
        daemon.ask(ChangeCamera(name="yard", options={"max_fps": 7}), CameraView)
        daemon.ask(AddCamera(name="gate", options={"url": LIVE}), CameraView)
        running = json.loads(file.read_text())
        new = {**running, "matcher": {"decide": {"leave_after_s": 3}}}
        new["cameras"] = {
            "hall": {"url": LIVE},
            "yard": {"url": LIVE, "detect_fps": 5},
            "roof": {"url": LIVE},
        }
        write_config(file, new)
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: set(daemon.views()) == {"hall", "yard", "roof", "gate"})
        assert daemon.views()["yard"].options == {"url": LIVE, "detect_fps": 5.0}
        assert "needs_restart=matcher.decide.leave_after_s" in daemon.log.read_text()
        assert first(events, "left", camera="door").reason == "camera_removed"
        first(events, "appeared", camera="roof")
        write_config(file, {**new, "cameras": {"hall": {"url": "nothing://"}}})
        with pytest.raises(RefusedError, match=r"cameras\.hall\.url"):
            daemon.ask(Reload(), Reloaded)
        write_config(file, {**new, "cameras": {**new["cameras"], "till": {"url": LIVE}}})
        assert "added: till" in (told := command(daemon, "reload"))
        assert "needs a restart: matcher.decide.leave_after_s" in told and "goes on: gate" in told
        assert daemon.stop() == 0
        assert first(events, "left", camera="hall").sighting_id == hall.sighting_id


def test_a_run_without_a_configuration_file_ends_with_its_terminal(
    tmp_path: Path, shelf: Path
) -> None:
    with running_daemon(tmp_path, cameras(shelf, "hall")) as daemon:
        daemon.wait_for("hall", "running")
        with pytest.raises(RefusedError, match="no configuration file"):
            daemon.ask(Reload(), Reloaded)
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.process.wait(20) == 0


def test_the_shell_finds_a_running_daemon_and_changes_its_cameras(
    tmp_path: Path, shelf: Path
) -> None:
    with running_daemon(tmp_path, cameras(shelf, "hall")) as daemon:
        daemon.wait_for("hall", "running")
        refused = subprocess.run(
            [*MAGPIE, "camera", "add", f"gate={NOBODY}", *where_is(daemon)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert refused.returncode == 3 and "--no-probe adds it all the same" in refused.stderr
        assert "Geheim" not in refused.stderr and list(daemon.views()) == ["hall"]
        assert "gate" in command(daemon, "camera", "add", f"gate={NOBODY}", "--no-probe")
        command(daemon, "camera", "remove", "gate")
        told = command(daemon, "camera", "add", f"door={LIVE}", "--set", "max_fps=5")
        assert "320x240" in told and "camera door: starting" in told
        daemon.wait_for("door", "running")
        assert command(daemon, "camera", "pause", "door") == "camera door: paused\n"
        assert "camera door: paused" in command(daemon, "camera", "list")
        assert "camera door: " in command(daemon, "camera", "resume", "door")
        assert command(daemon, "camera", "remove", "hall") == "camera hall: removed\n"
        assert "removed while running: hall" in command(daemon, "camera", "list")
        assert list(daemon.views()) == ["door"] and daemon.stop() == 0

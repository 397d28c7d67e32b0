"""Cameras' loads: measured by matchers, shown, kept, and used at the next start."""

import json
import re
from pathlib import Path
from typing import Any

from tests.end_to_end.daemon_bench import RunningDaemon, magpie, running_daemon
from tests.fakes import wait_until, write_scripted_catalog

TAKES_S = {"door": 0.016, "hall": 0.001, "yard": 0.006}  # a frame, 25 a second
IN_TURN = {"door": "matcher.0", "hall": "matcher.1", "yard": "matcher.0"}
BY_LOAD = {"door": "matcher.0", "hall": "matcher.1", "yard": "matcher.1"}


def three_cameras(folder: Path) -> dict[str, Any]:
    cameras = {
        name: {
            "url": "test:?size=320x240&fps=25",
            "catalog": str(write_scripted_catalog(folder / name, takes_s=takes_s)),
        }
        for name, takes_s in TAKES_S.items()
    }
    return {"matchers": 2, "cameras": cameras}


def measured(daemon: RunningDaemon) -> dict[str, dict[str, Any]]:
    """Return the cameras' rows of the running summary, once every load is known."""
    found: dict[str, dict[str, Any]] = {}
    with daemon.subscribe(since=None) as subscriber:

        def look() -> bool:
            state = subscriber.state(5)
            if state and state["summary"]:
                found.update(state["summary"]["cameras"])
            return bool(found) and all(row["load"] is not None for row in found.values())

        wait_until(look, "every load is measured", within_s=40)
    return found


def matchers_of(cameras: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: camera["matcher"] for name, camera in cameras.items()}


def test_loads_are_shown_and_kept_and_deal_out_the_cameras_of_the_next_run(tmp_path: Path) -> None:
    """1. Two matchers, three cameras, nothing known: dealt out in turn, the two heavy ones to one.
    2. `magpie status` tells loads that follow what a frame costs. 3. The daemon is killed.
    Result: the next one gives the heaviest camera a matcher of its own, and keeps loads at its end.
    """
    config, kept = three_cameras(tmp_path), tmp_path / "journal.db.loads.json"
    with running_daemon(tmp_path, config) as daemon:
        cameras = measured(daemon)
        assert matchers_of(cameras) == IN_TURN
        assert cameras["door"]["load"] > cameras["yard"]["load"] > cameras["hall"]["load"] > 0
        assert 0.2 < cameras["door"]["load"] < 1.2
        ask = ["status", "--endpoint", daemon.endpoint, "--ask", daemon.ask_endpoint]
        assert re.search(r"camera door: .* fps, matcher\.0 load [01]\.\d\d\n", magpie(*ask))
        rows = json.loads(magpie(*ask, "--json"))["summary"]["cameras"]
        assert matchers_of(rows) == IN_TURN and rows["door"]["load"] > 0.2
        wait_until(lambda: kept.exists() and len(loads(kept)) == 3, "a killed run's loads are kept")
        daemon.process.kill()
    earlier = loads(kept)
    assert earlier["door"]["load"] > earlier["yard"]["load"] > earlier["hall"]["load"]

    with running_daemon(tmp_path, config) as daemon:
        assert matchers_of(measured(daemon)) == BY_LOAD
        assert daemon.stop() == 0
    assert "cameras dealt out worker=matcher.1 cameras=hall,yard" in daemon.log.read_text()
    assert matchers_of(daemon.summary()["cameras"]) == BY_LOAD
    assert loads(kept)["door"]["seconds"] > earlier["door"]["seconds"]


def loads(kept: Path) -> dict[str, dict[str, float]]:
    cameras: dict[str, dict[str, float]] = json.loads(kept.read_text())["cameras"]
    return cameras


def test_a_damaged_file_of_loads_is_told_once_and_cameras_are_dealt_out_in_turn(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "journal.db.loads.json"
    kept.write_text('{"format": 1, "cameras": {"door": {"load": "mu')
    with running_daemon(tmp_path, three_cameras(tmp_path)) as daemon:
        assert matchers_of(measured(daemon)) == IN_TURN
        assert daemon.stop() == 0
    assert daemon.log.read_text().count("loads of earlier runs are not used") == 1
    assert loads(kept).keys() == TAKES_S.keys()


def test_where_the_journal_goes_with_the_run_no_loads_are_kept(tmp_path: Path) -> None:
    config = three_cameras(tmp_path) | {"publish": {"endpoint": "tcp://127.0.0.1:0"}}
    with running_daemon(tmp_path, config) as daemon:
        measured(daemon)
        assert daemon.stop() == 0
    assert not list(tmp_path.rglob("*.loads.json"))
    assert "warning" not in daemon.log.read_text()

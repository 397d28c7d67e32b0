"""Whose word counts: the configuration's, or what was changed while running; and how it is kept."""

import json
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, WorkerError
from streamer.publishing.options import PublishOptions
from streamer.state_file import CameraChange, Changes, StateFile, lay_over, mark_of, state_path

DOOR = {"url": "rtsp://a/1"}
OTHER = {"url": "rtsp://a/2"}


def change(over: dict[str, str] | None, **fields: object) -> CameraChange:
    return CameraChange.model_validate({"section": mark_of(over), **fields})


@pytest.mark.parametrize(
    ("sections", "changes", "cameras"),
    [
        ({}, {}, {}),
        ({"door": DOOR}, {}, {"door": (DOOR, "file", False, False)}),
        ({}, {"door": change(None, options=DOOR)}, {"door": (DOOR, "api", False, False)}),
        (
            {"door": DOOR},
            {"door": change(DOOR, options={"max_fps": 5})},
            {"door": ({**DOOR, "max_fps": 5}, "file", False, True)},
        ),
        (
            {"door": {**DOOR, "max_fps": 5}},
            {"door": change({**DOOR, "max_fps": 5}, options=OTHER, is_whole=True)},
            {"door": (OTHER, "file", False, True)},
        ),
        ({"door": DOOR}, {"door": change(DOOR, is_removed=True)}, {}),
        (
            {"door": DOOR},
            {"door": change(DOOR, is_paused=True)},
            {"door": (DOOR, "file", True, False)},
        ),
    ],
)
def test_a_change_counts_while_the_section_is_the_one_it_was_made_over(
    sections: dict[str, dict[str, str]], changes: Changes, cameras: dict[str, tuple[object, ...]]
) -> None:
    laid, kept = lay_over(sections, changes)
    assert kept == changes
    assert {
        name: (one.section, one.origin, one.is_paused, one.is_changed) for name, one in laid.items()
    } == cameras


@pytest.mark.parametrize(
    ("sections", "changes", "cameras"),
    [
        ({"door": OTHER}, {"door": change(DOOR, options={"max_fps": 5})}, {"door": OTHER}),
        ({"door": OTHER}, {"door": change(DOOR, is_removed=True)}, {"door": OTHER}),
        ({"door": OTHER}, {"door": change(None, options=DOOR)}, {"door": OTHER}),
        ({}, {"door": change(DOOR, options={"max_fps": 5}, is_paused=True)}, {}),
        ({}, {"door": change(DOOR, is_removed=True)}, {}),
    ],
)
def test_a_section_that_was_written_anew_counts_more(
    sections: dict[str, dict[str, str]], changes: Changes, cameras: dict[str, dict[str, str]]
) -> None:
    laid, kept = lay_over(sections, changes)
    assert kept == {} and {name: one.section for name, one in laid.items()} == cameras


def test_a_pause_stays_when_its_section_is_written_anew() -> None:
    laid, kept = lay_over({"door": OTHER}, {"door": change(DOOR, options=DOOR, is_paused=True)})
    assert laid["door"].is_paused and laid["door"].section == OTHER
    assert kept == {"door": change(OTHER, is_paused=True)}


def test_changes_are_read_again_as_they_were_kept(tmp_path: Path) -> None:
    path = state_path(PublishOptions(journal=tmp_path / "5555.db"))
    assert path == tmp_path / "5555.db.state.json"
    changes = {"door": change(DOOR, is_removed=True), "hall": change(None, options=OTHER)}
    StateFile(path).keep(changes)
    assert StateFile(path).changes == changes
    assert path.stat().st_mode & 0o777 == 0o600 and list(tmp_path.iterdir()) == [path]


def test_a_run_whose_journal_goes_with_it_keeps_nothing(tmp_path: Path) -> None:
    assert state_path(PublishOptions(endpoint="tcp://127.0.0.1:0")) is None
    kept = StateFile(None)
    kept.keep({"hall": change(None, options=OTHER)})
    assert list(kept.changes) == ["hall"] and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"format": 2, "cameras": {}}', '{"cameras": {"a": {"url": "rtsp://u:Geheim7@h"}}}'],
)
def test_a_damaged_file_is_refused_with_its_remedy_and_without_its_secrets(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"is damaged: .*; mend it; or move it away") as caught:
        StateFile(path)
    assert "Geheim7" not in str(caught.value) and path.read_text() == text


def test_what_the_disk_refuses_leaves_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "there" / "state.json"
    path.parent.mkdir()
    kept = StateFile(path)
    kept.keep({"hall": change(None, options=OTHER)})
    before = json.loads(path.read_text())
    path.with_name("state.json.new").mkdir()
    with pytest.raises(WorkerError, match="what is changed cannot be kept"):
        kept.keep({})
    assert json.loads(path.read_text()) == before and list(kept.changes) == ["hall"]

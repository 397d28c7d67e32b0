"""What of a user's folder counts: not what NAS, macOS and Windows put there."""

import os
from pathlib import Path, PurePath

import pytest

from pipeline.folders import entries_of, files_below, is_passed_over

FOREIGN = [
    "@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", ".@__thumb", "@__thumb",
    "__MACOSX", ".AppleDouble", "System Volume Information", "$RECYCLE.BIN", "$Recycle.Bin",
    "Thumbs.db", "desktop.ini", "lost+found", ".git", "._photo.jpg", "photo.jpg@SynoEAStream",
]  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_what_a_system_puts_there_is_passed_over_at_every_depth(name: str, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "item" / "deeper"):
        (place / name).mkdir(parents=True)
        (place / name / "thumb.jpg").touch()
    (tmp_path / "item" / "a.jpg").touch()
    assert entries_of(tmp_path) == [tmp_path / "item"]
    assert files_below(tmp_path) == [tmp_path / "item" / "a.jpg"]
    assert is_passed_over(PurePath("item", name, "thumb.jpg"))


@pytest.mark.parametrize("name", ["@home", "#1", "$5 off", "recycle", "thumbs", "a.@eaDir.jpg"])
def test_an_item_may_be_called_so(name: str) -> None:
    assert not is_passed_over(PurePath(name, "1.jpg"))


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        if os.access(closed, os.R_OK):
            pytest.skip("this user reads every folder")
        told: list[OSError] = []
        assert files_below(tmp_path, told.append) == [tmp_path / "a.jpg"]
        assert [error.filename for error in told] == [str(closed)]
        with pytest.raises(PermissionError):
            files_below(tmp_path)
    finally:
        closed.chmod(0o700)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files_below(tmp_path / "missing")

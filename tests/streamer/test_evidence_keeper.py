"""Old evidence goes by age and size, and nothing else in the folder does."""

import os
import time
from pathlib import Path

from streamer.evidence_keeper import EvidenceKeeper

DAY_S = 86_400


def write(folder: Path, number: int, age_days: float, n_bytes: int = 1000) -> str:
    stem = f"20260101T00000{number}.000-door-soup-{number:012d}-exact"
    for suffix in (".png", ".json"):
        path = folder / f"{stem}{suffix}"
        path.write_bytes(b"x" * (n_bytes // 2))
        then_s = time.time() - age_days * DAY_S
        os.utime(path, (then_s, then_s))
    return stem


def stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


def test_an_empty_or_missing_folder_is_fine(tmp_path: Path) -> None:
    assert EvidenceKeeper(tmp_path, 1, 1).tidy() == 0
    assert EvidenceKeeper(tmp_path / "none", 1, 1).tidy() == 0


def test_what_is_too_old_goes_with_its_json(tmp_path: Path) -> None:
    old, new = write(tmp_path, 1, 8), write(tmp_path, 2, 6)
    assert EvidenceKeeper(tmp_path, 7, 0).tidy() == 1
    assert stems(tmp_path) == {new} and old != new


def test_above_the_size_the_oldest_go(tmp_path: Path) -> None:
    names = [write(tmp_path, number, 9 - number, 400_000) for number in range(1, 6)]
    assert EvidenceKeeper(tmp_path, 0, 1).tidy() == 3
    assert stems(tmp_path) == set(names[3:])


def test_without_limits_all_stay(tmp_path: Path) -> None:
    write(tmp_path, 1, 9999)
    assert EvidenceKeeper(tmp_path, 0, 0).tidy() == 0


def test_what_magpie_did_not_write_stays(tmp_path: Path) -> None:
    others = ["holiday.png", "20260101-exact.png", "notes.json"]
    for name in others:
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "20260101T000001.000-door-soup-1-exact.png").symlink_to(tmp_path / "holiday.png")
    assert EvidenceKeeper(tmp_path, 1, 1).tidy() == 0
    assert len(stems(tmp_path)) == 4


def test_it_looks_by_itself_and_ends_when_asked(tmp_path: Path) -> None:
    write(tmp_path, 1, 9)
    keeper = EvidenceKeeper(tmp_path, 1, 0, every_s=0.01)
    keeper.start()
    deadline_s = time.monotonic() + 10
    while stems(tmp_path) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    keeper.stop()
    keeper.stop()
    assert not stems(tmp_path)

"""Numbers that are never used twice, and what is kept and forgotten."""

import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from streamer.publishing.journal import Entry, Journal
from streamer.publishing.journal_file import connect, transaction
from streamer.publishing.journal_keeper import JournalKeeper
from streamer.publishing.journal_time import DAY_NS
from streamer.publishing.options import PublishOptions

HOUR_NS = 3600 * 10**9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def write(journal: Journal, count: int, camera: str | None = "door", time_ns: int = 0) -> list[int]:
    """Number and append events; returns their numbers."""
    entries = []
    for _ in range(count):
        seq, camera_seq = journal.next_number(camera)
        text = '{"padding": "' + "x" * 900 + '"}'
        entries.append(Entry(seq, camera, camera_seq, time_ns or journal.time.now_ns(), text))
    journal.append(entries)
    return [entry.seq for entry in entries]


def gaps_of(path: Path) -> list[tuple[int, int]]:
    db = connect(path, is_reader=True)
    try:
        return db.execute("SELECT * FROM gaps ORDER BY first_seq").fetchall()
    finally:
        db.close()


def copy_of(path: Path, to: Path) -> Path:
    """What a power cut would leave on disk at this moment."""
    to.mkdir()
    for part in path.parent.glob("journal.db*"):
        if not part.name.endswith(".lock"):
            shutil.copy(part, to / part.name)
    return to / path.name


def test_numbers_go_on_without_a_gap_after_a_clean_close(path: Path) -> None:
    first = Journal(path)
    assert write(first, 3) == [1, 2, 3]
    first.close()
    first.close()
    second = Journal(path)
    assert second.journal_id == first.journal_id
    assert second.last_seq == 3 and second.last_camera_seq == {"door": 3}
    assert second.next_number("door") == (4, 4)
    assert second.next_number("yard") == (5, 1)
    assert second.next_number(None) == (6, None)
    second.close()
    assert gaps_of(path) == []


def test_after_a_power_cut_no_number_is_used_twice_and_the_rest_is_a_gap(
    path: Path, tmp_path: Path
) -> None:
    journal = Journal(path, block=10)
    write(journal, 3)
    left_over = copy_of(path, tmp_path / "cut")
    used = write(journal, 4) + write(journal, 2, camera="yard")  # published, then lost with the cut
    used_by_camera = journal.last_camera_seq
    journal.close()
    after = Journal(left_over, block=10)
    seq, camera_seq = after.next_number("door")
    assert seq == 11 > max(used)
    assert camera_seq is not None and camera_seq > used_by_camera["door"]
    yard_seq = after.next_number("yard")[1]
    assert yard_seq is not None and yard_seq > used_by_camera["yard"]
    after.close()
    assert gaps_of(left_over) == [(4, 10)]


def test_numbers_are_reserved_before_the_block_is_used_up(path: Path, tmp_path: Path) -> None:
    journal = Journal(path, block=10)
    highest = 0
    for turn in range(5):
        highest = max(highest, *write(journal, 4))
        if journal.is_block_low:
            journal.reserve()
        crashed = Journal(copy_of(path, tmp_path / f"cut{turn}"), block=10)
        assert crashed.next_number(None)[0] > highest
        crashed.close()
    journal.close()


def test_the_reservation_reaches_the_disk(path: Path) -> None:
    journal = Journal(path, block=10)
    seen: list[str] = []
    journal._db.set_trace_callback(seen.append)
    journal.reserve()
    journal._db.set_trace_callback(None)
    journal.close()
    full, back = (seen.index(f"PRAGMA synchronous={word}") for word in ("FULL", "NORMAL"))
    assert full < seen.index("COMMIT") < back


def test_two_daemons_cannot_share_a_journal(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(
        ConfigError, match=r"journal: belongs to one daemon.*process \d+.*--journal"
    ):
        Journal(path)
    journal.close()
    Journal(path).close()


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 20])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"journal: must be a journal .*--journal"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_foreign_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE recipes (name)")
    db.close()
    with pytest.raises(ConfigError, match="must be a journal of format 1, got 'format 0"):
        Journal(path)
    db = sqlite3.connect(path)
    assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    db.close()


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"journal folder: must be a folder .*--journal"):
        Journal(tmp_path / "file" / "journal.db")


def test_the_journal_is_for_its_user_only(path: Path) -> None:
    Journal(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def keep(journal: Journal, **options: float) -> None:
    """One round of the keeper."""
    keeper = JournalKeeper(journal, PublishOptions.model_validate(options))
    db = connect(journal.path)
    try:
        keeper.tidy(db)
    finally:
        db.close()


def test_events_are_forgotten_by_age(path: Path) -> None:
    journal = Journal(path)
    write(journal, 500, time_ns=journal.time.now_ns() - 3 * DAY_NS)
    write(journal, 5)
    keep(journal, journal_keep_days=2.0)
    assert journal.oldest_seq() == 501
    journal.close()
    again = Journal(path)
    assert again.next_number("door") == (506, 506)
    again.close()


def test_only_what_comes_before_all_that_is_kept_is_forgotten(path: Path) -> None:
    journal = Journal(path)
    write(journal, 5)
    write(journal, 5, time_ns=journal.time.now_ns() - 3 * DAY_NS)
    keep(journal, journal_keep_days=2.0)
    assert journal.oldest_seq() == 1
    journal.close()


def test_size_is_kept_to_whatever_the_clock_says(path: Path) -> None:
    journal = Journal(path)
    for day in range(6):
        write(journal, 500, time_ns=journal.time.now_ns() + (day % 2) * 400 * DAY_NS)
    keep(journal, journal_max_bytes=2**20)
    assert 1 < journal.oldest_seq() <= 3000
    journal.close()


def test_time_goes_on_across_runs_and_is_known_when_all_events_are_gone(path: Path) -> None:
    first = Journal(path)
    before_ns = first.time.now_ns()
    first.close()
    second = Journal(path)
    assert 0 < second.time.now_ns() - before_ns < 60 * 10**9
    assert second.time.trouble() is None
    second.close()


def test_a_journal_whose_stamps_are_a_wall_clocks_loses_nothing_young(path: Path) -> None:
    """What 1970 and 2038 wrote into it is taken for as new as its newest event."""
    old = Journal(path)
    now_ns = time.time_ns()
    for stamp_ns in (now_ns - 3 * DAY_NS, 10**9, now_ns + 4000 * DAY_NS, now_ns - 20 * HOUR_NS):
        write(old, 1, time_ns=stamp_ns)
    old.close()
    db = sqlite3.connect(path)
    with db:
        db.execute("DELETE FROM meta WHERE key = 'time'")
    db.close()
    journal = Journal(path)
    keep(journal, journal_keep_days=2.0)
    assert journal.oldest_seq() == 2
    keep(journal, journal_keep_days=0.5)
    assert journal.oldest_seq() == 5
    journal.close()


def test_events_are_forgotten_by_size_and_the_file_shrinks(path: Path) -> None:
    journal = Journal(path)
    for _ in range(6):
        write(journal, 500)
    keep(journal)
    assert journal.oldest_seq() == 1
    before_bytes = path.stat().st_size
    keep(journal, journal_max_bytes=2**20)
    assert 1 < journal.oldest_seq() <= 3000
    assert path.stat().st_size < before_bytes and path.stat().st_size < 1.3 * 2**20
    journal.close()


def test_a_checkpoint_moves_the_log_and_commits_go_on(path: Path) -> None:
    journal = Journal(path)
    write(journal, 400)
    log = path.with_name(path.name + "-wal")
    grown_bytes = log.stat().st_size
    keep(journal)
    assert write(journal, 400)[-1] == 800
    assert log.stat().st_size < 1.2 * grown_bytes  # the log was begun anew, not prolonged
    journal.close()


def restarts_of_log(path: Path) -> int:
    """How often the log was begun anew, as its header tells."""
    with path.with_name(f"{path.name}-wal").open("rb") as log:
        return int.from_bytes(log.read(16)[12:], "big")


def test_a_large_log_is_begun_anew_though_commits_never_cease(path: Path) -> None:
    journal = Journal(path)
    before = restarts_of_log(path)
    while path.with_name(f"{path.name}-wal").stat().st_size < 33 * 2**20:
        write(journal, 2000)
    is_done = threading.Event()

    def write_on() -> None:
        while not is_done.is_set():
            write(journal, 5)

    writer = threading.Thread(target=write_on)
    writer.start()
    keep(journal)
    is_done.set()
    writer.join()
    write(journal, 1)
    assert restarts_of_log(path) > before
    journal.close()


def test_only_the_keeper_checkpoints(path: Path) -> None:
    """Else a commit of any connection moves the log while it holds all others up."""
    journal = Journal(path)
    write(journal, 3000)
    log_bytes = path.with_name(f"{path.name}-wal").stat().st_size
    main_bytes = path.stat().st_size
    other = connect(path)
    with journal.write_lock, transaction(other):
        other.execute("REPLACE INTO meta VALUES ('time', NULL)")
    other.close()
    assert path.stat().st_size == main_bytes < log_bytes
    journal.close()

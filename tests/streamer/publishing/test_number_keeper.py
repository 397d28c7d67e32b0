"""Numbers are on disk before they are used, and the publisher does not wait for it."""

import sqlite3
import threading
from pathlib import Path

import pytest

from streamer.publishing.journal import Journal
from streamer.publishing.journal_file import connect
from streamer.publishing.number_keeper import NumberKeeper
from tests.fakes import wait_until


def use(journal: Journal, count: int) -> int:
    """Use so many numbers; returns the last."""
    return [journal.next_number(None)[0] for _ in range(count)][-1]


def test_a_low_block_is_followed_by_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", block=10)
    keeper = NumberKeeper(journal)
    keeper.start()
    for _ in range(5):
        while not journal.is_block_low:
            use(journal, 1)
        keeper.reserve_soon()
        wait_until(lambda: not journal.is_block_low)
    keeper.stop()
    keeper.stop()
    journal.close()


def test_a_block_that_is_not_low_is_left_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", block=10)
    keeper = NumberKeeper(journal)
    keeper.start()
    keeper.reserve_soon()
    keeper.stop()
    assert journal._reserved == 10
    journal.close()


def test_numbers_may_be_used_when_the_log_has_reached_the_disk_and_no_commit_waits_for_it(
    tmp_path: Path,
) -> None:
    """1. The disk is slow. 2. The next block is reserved. Result: until the disk is done the old
    numbers alone are used, commits go on, and a crash would skip what was written down."""
    is_asked, may_end = threading.Event(), threading.Event()

    def slow_disk(path: Path) -> None:
        assert path.name == "journal.db-wal"
        is_asked.set()
        assert may_end.wait(10)

    journal = Journal(tmp_path / "journal.db", block=10, sync_log=slow_disk)
    keeper = NumberKeeper(journal)
    keeper.start()
    use(journal, 7)
    keeper.reserve_soon()
    assert is_asked.wait(10)
    assert journal._reserved == 10
    journal.declare_gap(1, 1)  # a commit
    reader = connect(journal.path, is_reader=True)
    written = reader.execute("SELECT value FROM meta WHERE key = 'reserved_seq'").fetchone()
    reader.close()
    assert written == (20,)
    may_end.set()
    wait_until(lambda: journal._reserved == 20)
    keeper.stop()
    journal.close()


def test_a_block_that_runs_out_before_the_keeper_is_done_is_followed_at_once(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "journal.db", block=10)
    assert use(journal, 25) == 25
    assert journal._reserved == 30
    journal.close()


def test_numbers_that_cannot_be_reserved_are_told_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "journal.db", block=10)
    stranger = sqlite3.connect(journal.path, isolation_level=None, check_same_thread=False)
    stranger.execute("BEGIN IMMEDIATE")
    keeper = NumberKeeper(journal)
    keeper.start()
    use(journal, 7)
    keeper.reserve_soon()
    wait_until(lambda: "no numbers could be reserved ahead" in caplog.text)
    stranger.execute("ROLLBACK")
    stranger.close()
    keeper.reserve_soon()
    wait_until(lambda: not journal.is_block_low)
    keeper.stop()
    journal.close()

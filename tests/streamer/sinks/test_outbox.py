"""What a sink still has to deliver: its position, the holes, the order."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from streamer.publishing.journal import Entry, Journal
from streamer.publishing.options import PublishOptions
from streamer.reporting import configure_logging
from streamer.sinks.options import SinkArgs, WebhookOptions
from streamer.sinks.outbox import Outbox

Open = Callable[..., Outbox]


def write(journal: Journal, camera: str, count: int) -> list[int]:
    """Write so many matches down; returns their numbers."""
    seqs = []
    for _ in range(count):
        seq, camera_seq = journal.next_number(camera)
        event = {
            "type": "appeared", "camera": camera, "seq": seq, "item_id": "tea", "tier": "exact",
            "sighting_id": f"s{seq}",
        }  # fmt: skip
        entry = Entry(seq, camera, camera_seq, journal.time.now_ns(), json.dumps(event))
        journal.append([entry])
        seqs.append(seq)
    return seqs


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Open]:
    """Opens a sink's outbox; keywords are its options."""
    with ExitStack() as opened:

        def open_it(**options: object) -> Outbox:
            url = SecretStr("http://127.0.0.1:9/")
            hook = WebhookOptions.model_validate({"url": url, **options})
            publish = PublishOptions(journal=tmp_path / "journal.db")
            args = SinkArgs(kind="webhook", name="a", options=hook, publish=publish)
            return opened.enter_context(closing(Outbox(args, tmp_path)))

        yield open_it


def position(tmp_path: Path) -> Path:
    return tmp_path / "journal.db.sink-webhook-a.json"


def begin_at(tmp_path: Path, journal: Journal, seq: int) -> None:
    content = {"format": 1, "journal_id": journal.journal_id, "seq": seq}
    position(tmp_path).write_text(json.dumps(content))


def test_what_has_not_arrived_is_taken_again_by_the_next_life(
    tmp_path: Path, journal: Journal, outbox: Open
) -> None:
    begin_at(tmp_path, journal, 0)
    seqs = write(journal, "door", 250)
    first = outbox()
    letters = first.take(200)
    assert [letter.seq for letter in letters] == seqs[:200]
    first.has_arrived(letters[1])
    assert json.loads(position(tmp_path).read_text())["seq"] < seqs[0]
    first.has_arrived(letters[0])
    first.close()
    assert json.loads(position(tmp_path).read_text())["seq"] == seqs[1]
    assert position(tmp_path).stat().st_mode & 0o777 == 0o600
    assert [letter.seq for letter in outbox().take(999)] == seqs[2:]


def test_what_is_taken_back_comes_in_the_same_order(
    tmp_path: Path, journal: Journal, outbox: Open
) -> None:
    begin_at(tmp_path, journal, 0)
    seqs = write(journal, "door", 5)
    box = outbox()
    box.has_arrived(box.take(3)[0])
    box.take_back()
    assert [letter.seq for letter in box.take(9)] == seqs[1:]
    assert box.take(9) == []
    seqs += write(journal, "door", 1)
    assert [letter.seq for letter in box.take(9)] == seqs[-1:]


def test_position_moves_over_what_nobody_wants(
    tmp_path: Path, journal: Journal, outbox: Open
) -> None:
    begin_at(tmp_path, journal, 0)
    box = outbox(cameras=("hall",))
    seqs = write(journal, "door", 150)
    assert box.take(10) == []
    box.close()
    assert json.loads(position(tmp_path).read_text())["seq"] == seqs[-1]


def test_numbers_that_a_crash_left_unused_are_no_hole(
    tmp_path: Path, journal: Journal, outbox: Open
) -> None:
    begin_at(tmp_path, journal, 0)
    before = write(journal, "door", 2)
    for file in (journal._db, journal._main_file, journal._lock_file):
        file.close()  # as the death of the process does
    again = Journal(tmp_path / "journal.db")
    after = write(again, "door", 2)
    assert after[0] > before[-1] + 1
    assert [letter.seq for letter in outbox().take(9)] == before + after
    again.close()


def test_numbers_that_were_never_written_down_are_told_as_a_gap(
    tmp_path: Path, journal: Journal, outbox: Open
) -> None:
    begin_at(tmp_path, journal, 0)
    (first,) = write(journal, "door", 1)
    for _ in range(3):
        journal.next_number("door")
    (last,) = write(journal, "door", 1)
    letters = outbox().take(9)
    assert [letter.event["type"] for letter in letters] == ["appeared", "gap", "appeared"]
    gap = letters[1].event
    assert (gap["reason"], gap["first_seq"], gap["last_seq"]) == ("unwritten", first + 1, last - 1)


def test_gap_that_was_taken_back_is_told_whole_again(
    tmp_path: Path, journal: Journal, outbox: Open
) -> None:
    begin_at(tmp_path, journal, 0)
    seqs = write(journal, "door", 6)
    with journal.write_lock, journal._db as db:
        db.execute("DELETE FROM events WHERE seq <= ?", (seqs[3],))
        db.execute("UPDATE meta SET value = ? WHERE key = 'pruned_seq'", (seqs[3],))
    box = outbox()
    gap = box.take(1)[0]
    box.take_back()
    assert box.take(1)[0] == gap and gap.event["first_seq"] == 1
    box.has_arrived(gap)
    assert box.n_lost == seqs[3]
    assert [letter.seq for letter in box.take(9)] == seqs[4:]


def test_damaged_position_is_told_and_all_is_delivered_again(
    tmp_path: Path, journal: Journal, outbox: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("sink.webhook.a")
    seqs = write(journal, "door", 2)
    position(tmp_path).write_text("{half")
    assert [letter.seq for letter in outbox().take(9)] == seqs
    assert "its position cannot be read; it begins anew" in capsys.readouterr().err


def test_position_that_cannot_be_kept_is_told_once(
    tmp_path: Path, journal: Journal, outbox: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("sink.webhook.a")
    begin_at(tmp_path, journal, 0)
    box = outbox()
    position(tmp_path).unlink()
    position(tmp_path).mkdir()
    write(journal, "door", 3)
    for letter in box.take(3):
        box.has_arrived(letter)
    assert capsys.readouterr().err.count("its position cannot be kept") == 1
    assert box.n_delivered == 3

"""A machine whose clock is wrong."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from streamer.publishing.events import StatusEvent
from streamer.publishing.journal import Journal
from streamer.publishing.journal_time import DAY_NS
from tests.end_to_end.daemon_bench import running_daemon
from tests.fakes import write_scripted_catalog

LIVE = "test:?size=320x240&fps=25"


def test_a_clock_that_is_wrong_is_told_once_in_the_log_the_status_and_the_summary(
    tmp_path: Path,
) -> None:
    """1. A journal knows a later time. 2. The machine starts with a clock that is days behind.

    Result: the daemon runs, says so once, and forgets nothing because of it.
    """
    catalog = write_scripted_catalog(tmp_path / "shelf", period=1000, appear=1, leave=999)
    journal = Journal(tmp_path / "journal.db")
    known = json.loads(journal.time.state())
    journal.close()
    late = json.dumps({**known, "now_ns": known["now_ns"] + 30 * DAY_NS})
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db, db:
        db.execute("REPLACE INTO meta VALUES ('time', ?)", (late,))
    with (
        running_daemon(
            tmp_path, {"catalog": str(catalog), "cameras": {"door": {"url": LIVE}}}
        ) as daemon,
        daemon.subscribe() as subscriber,
    ):
        told = next(
            event.reason
            for event in subscriber
            if isinstance(event, StatusEvent) and event.process == "daemon" and event.reason
        )
        assert re.fullmatch(r"the clock shows .*, 30\.0 days behind the journal; check it", told)
        state = subscriber.state(5.0)
        assert state is not None and state["workers"]["daemon"]["reason"] == told
        assert daemon.stop() == 0
    assert daemon.summary()["trouble"] == [told]
    assert daemon.log.read_text().count(f"daemon warning {told}") == 1

"""Opens wires for tests, and closes them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from streamer.publishing.journal import Journal
from streamer.publishing.options import PublishOptions
from streamer.publishing.publisher import Publisher
from tests.streamer.publishing.rig import Wire


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")


@pytest.fixture
def open_wire(run_dir: Path) -> Iterator[Callable[..., Wire]]:
    """Opens a wire; keywords are PublishOptions'."""
    with ExitStack() as open_things:

        def open_it(**options: Any) -> Wire:
            chosen = PublishOptions(**{"endpoint": "tcp://127.0.0.1:0", **options})
            path = run_dir / "journal.db"
            journal = Journal(path)
            publisher = Publisher(chosen, journal, run_dir)
            wire = Wire(run_dir, path, chosen, open_things, publisher, journal)
            open_things.callback(lambda: wire.stop())
            publisher.start()
            return wire

        yield open_it


@pytest.fixture
def wire(open_wire: Callable[..., Wire]) -> Wire:
    return open_wire(heartbeat_s=0.1)

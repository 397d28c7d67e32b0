"""Query workers for a test, which are gone after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.streamer.query.query_rig import QueryRig, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    rigs: list[QueryRig] = []

    def start_one(**options: object) -> QueryRig:
        rigs.append(QueryRig(tmp_path, **options))  # type: ignore[arg-type]
        return rigs[-1]

    yield start_one
    for rig in rigs:
        rig.close()

"""What the tests of rings and cameras share."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.streamer.camera_rig import Rig
from tests.streamer.ring_rig import Rings


@pytest.fixture
def rings(tmp_path: Path) -> Iterator[Rings]:
    with contextlib.ExitStack() as stack:
        yield Rings(tmp_path, stack)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    with contextlib.ExitStack() as stack:

        def start(**options: object) -> Rig:
            run_dir = tmp_path / "run"
            run_dir.mkdir()
            made = Rig(run_dir, **options)
            stack.callback(made.close)
            return made

        yield start

"""What the tests of rings and cameras share."""

import contextlib
import json
import socket
import subprocess
import sys
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


@pytest.fixture
def rtsp_with_faults(shared_data: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts a small RTSP server that makes the mistakes asked for; gives its URL."""
    server = shared_data.parent / "cases" / "tools" / "rtspd.py"
    if not server.is_file():
        pytest.skip(f"the server with faults: no file {server.name} beside the real data")
    with contextlib.ExitStack() as stack:

        def start(clip: Path, **faults: object) -> str:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            spec = {"port": port, "segments": [{"file": str(clip)}], **faults}
            command = [sys.executable, str(server), json.dumps(spec)]
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            return f"rtsp://127.0.0.1:{port}/stream"

        yield start

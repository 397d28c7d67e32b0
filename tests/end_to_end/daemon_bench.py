"""A real daemon in its own process, with scripted matchers, for the end-to-end tests."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from streamer.control.asking import ask
from streamer.control.requests import (
    CameraList,
    CameraView,
    ControlModel,
    ListCameras,
    Request,
)
from streamer.publishing import Subscriber
from tests.fakes import wait_until

_CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from functools import partial
from streamer.config import AppConfig
from streamer.config_file import load_config
from streamer.daemon import Daemon, stop_on_signals
from streamer.reporting import configure_logging
from streamer.summary import write_summary
from pipeline.errors import MagpieError
creator, run = "tests.fakes:" + sys.argv[3], json.loads(sys.argv[4])
configure_logging("daemon", "debug", json.loads(sys.argv[2]).get("log_format", "text"))
try:
    if run["file"]:
        reread = partial(load_config, Path(run["file"]), may_be_empty=True)
        config = reread()
    else:
        reread, config = None, AppConfig.model_validate_json(sys.argv[2])
    daemon = Daemon(config, creator, reread, run["may_be_empty"])
    with stop_on_signals(daemon):
        summary = daemon.run(lambda d: print(json.dumps([d.endpoint, d.ask_endpoint]), flush=True))
except MagpieError as error:
    print(f"magpie: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
write_summary(summary, config.summary_json)
"""


MAGPIE = (sys.executable, "-c", "from streamer.cli import main; main()")
_A = TypeVar("_A", bound=ControlModel)


class RunningDaemon:
    """A daemon process with its addresses, its log, and the events that it published."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.folder = folder
        self.process = process
        self.log = log
        self.endpoint = self.ask_endpoint = ""

    def subscribe(self, since: int | None = 0, **options: Any) -> Subscriber:
        return Subscriber(
            self.endpoint, since=since, ask_endpoint=self.ask_endpoint, timeout_s=20, **options
        )

    def pid_of(self, worker: str) -> int:
        """Return the process id of a worker, from the daemon's log."""
        found: list[int] = []

        def look() -> bool:
            for line in self.log.read_text().splitlines():
                if f" started worker={worker} pid=" in line:
                    found.append(int(line.rsplit("pid=", 1)[1]))
            return bool(found)

        wait_until(look, f"{worker} is started")
        return found[-1]

    def run_dirs(self) -> list[Path]:
        return list(Path("/dev/shm").glob(f"magpie-{self.process.pid}-*"))

    def ask(self, request: Request, answer: type[_A]) -> _A:
        """Ask it for something over its control socket."""
        return ask(self.run_dirs()[0], request, answer)

    def views(self) -> dict[str, CameraView]:
        """Return the cameras as it tells of them now."""
        return {one.name: one for one in self.ask(ListCameras(), CameraList).cameras}

    def wait_for(self, camera: str, state: str, reason: str | None = None) -> CameraView:
        """Return a camera as it is when it has come to a state."""

        def is_there() -> bool:
            view = self.views()[camera]
            return view.state == state and (reason is None or reason in (view.reason or ""))

        wait_until(is_there, f"{camera} is {state}", 30)
        return self.views()[camera]

    def stop(self, within_s: float = 20.0) -> int:
        """Ask it to end; returns its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(within_s)

    def summary(self) -> dict[str, Any]:
        """Return the summary that an ended daemon wrote."""
        content: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return content


def write_config(file: Path, config: dict[str, Any]) -> None:
    """Write a configuration as YAML, which JSON is."""
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.write_text(json.dumps(config))
    unfinished.replace(file)


def magpie(*arguments: str) -> str:
    """Return what a command prints."""
    command = [*MAGPIE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@contextmanager
def running_daemon(
    folder: Path,
    config: dict[str, Any],
    matcher: str = "ScriptedMatcher",
    file: Path | None = None,
    may_be_empty: bool = False,
) -> Iterator[RunningDaemon]:
    """Start a daemon with this configuration on free ports; kill it at the end if need be.

    matcher: the class of tests/fakes.py that stands in for the networks. file: the configuration is
    written there, and can be read again. may_be_empty: it may run without cameras.
    """
    config = {
        "publish": {"endpoint": "tcp://127.0.0.1:0", "journal": str(folder / "journal.db")},
        "summary_json": str(folder / "summary.json"),
        **config,
    }
    if file is not None:
        write_config(file, config)
    run = {"file": str(file) if file else None, "may_be_empty": may_be_empty}
    arguments = [json.dumps(sys.path), json.dumps(config), matcher, json.dumps(run)]
    log_path = folder / "daemon.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "2"},
        )
    daemon = RunningDaemon(folder, process, log_path)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line:
            daemon.endpoint, daemon.ask_endpoint = json.loads(line)
        yield daemon
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        if sys.exc_info()[0] is not None:
            print(log_path.read_text())

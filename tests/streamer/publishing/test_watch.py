"""`magpie watch` as a user calls it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.types import Phase
from streamer.cli import main
from streamer.cli.watch_table import WatchTable
from tests.streamer.publishing.rig import DEADLINE_S, Wire, sighting, take

MAGPIE = "from streamer.cli import main; main()"
ROOT = Path(__file__).resolve().parents[3]
Call = Callable[..., tuple[int, str, str]]
Watch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def watch(wire: Wire) -> Iterator[Watch]:
    """Starts `magpie watch` on the wire."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        at = ["--endpoint", wire.publisher.endpoint, "--ask", wire.publisher.ask_endpoint]
        process = subprocess.Popen(
            [sys.executable, "-c", MAGPIE, "watch", *at, *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls `magpie watch` in this process; gives its exit code and what it printed."""

    def call_it(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["magpie", "watch", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return call_it


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=3 * DEADLINE_S)
    return process.returncode, out, err


def test_since_0_json_count_gives_the_published_events_in_order(
    wire: Wire,
    watch: Watch,
) -> None:
    """One watches from the start, one joins when half is published: both print the same."""
    events = wire.subscriber(since=0)
    arguments = ("--since", "0", "--json", "--count", "41")
    early = watch(*arguments)
    sink = wire.sink()
    for number in range(20):
        sink.send_sighting(sighting(f"s{number}"))
    published = take(events, 20)
    late = watch(*arguments)
    wire.publisher.publish_status("camera.door", "running")
    published += take(events, 1)
    for number in range(20):
        sink.send_sighting(sighting(f"s{number}", Phase.LEFT))
    published += take(events, 20)
    for process in (early, late):
        code, out, err = finish(process)
        assert (code, err) == (0, "")
        assert [json.loads(line) for line in out.splitlines()] == published
    assert [event["seq"] for event in published] == list(range(1, 42))


def test_matches_only_and_lines_for_a_human(wire: Wire, watch: Watch) -> None:
    wire.publisher.publish_status("camera.door", "reconnecting", "no route")
    take(wire.subscriber(since=0), 1)
    wire.sink().send_sighting(sighting("a"))
    code, out, _ = finish(watch("--since", "0", "--count", "2"))
    assert code == 0
    assert "camera.door reconnecting (no route)" in out and "door appeared Tea [tea] exact" in out
    code, out, _ = finish(watch("--since", "0", "--count", "1", "--matches"))
    assert code == 0 and "appeared" in out and "reconnecting" not in out


def test_ctrl_c_and_a_closed_pipe_end_it_without_complaint(
    wire: Wire,
    watch: Watch,
) -> None:
    wire.sink().send_sighting(sighting("a"))
    watching = watch("--since", "0", "--json")
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["seq"] == 1
    watching.send_signal(signal.SIGINT)
    assert finish(watching) == (0, "", "")
    deaf = watch("--since", "0", "--json")
    assert deaf.stdout is not None and deaf.stderr is not None
    deaf.stdout.readline()
    deaf.stdout.close()
    wire.sink().send_sighting(sighting("b"))
    assert deaf.wait(3 * DEADLINE_S) == 0
    assert deaf.stderr.read() == ""


def test_time_is_up(wire: Wire, call: Call) -> None:
    at = ["--endpoint", wire.publisher.endpoint, "--ask", wire.publisher.ask_endpoint]
    code, _, err = call(*at, "--count", "3", "--timeout", "0.4")
    assert code == 3 and "expected 3 events, none more came within 0.4 s, got 0" in err
    assert call(*at, "--timeout", "0.4", "--json") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--endpoint", "http://127.0.0.1:1"], 2, "endpoint: expected tcp://HOST:PORT"),
        (["--since", "-1"], 2, "since: must be 0 or more, got -1"),
        (["--camera", "a b"], 2, "camera: may have"),
        (["--count", "0"], 2, "count"),
        (["--since", "7", "--timeout", "9"], 2, "since: must be at most the journal's last number"),
        (["--endpoint", "tcp://127.0.0.1:1", "--timeout", "0.3"], 3, "a daemon must answer within"),
    ],
)
def test_a_usage_mistake_is_one_sentence_and_its_code(
    wire: Wire, call: Call, arguments: list[str], code: int, text: str
) -> None:
    if "--endpoint" not in arguments:
        at = ["--endpoint", wire.publisher.endpoint, "--ask", wire.publisher.ask_endpoint]
        arguments = [*at, *arguments]
    got, out, err = call(*arguments)
    assert (got, out) == (code, "")
    assert text in err and "Traceback" not in err


def test_the_table_shows_open_sightings_states_and_silence(wire: Wire) -> None:
    from rich.console import Console

    events = wire.subscriber(since=0)
    wire.publisher.publish_status("camera.door", "running", None, {"decoded": 9})
    take(events, 1)
    for name in ("a", "b"):
        wire.sink().send_sighting(sighting(name, camera=f"cam-{name}"))
        take(events, 1)
    table = WatchTable(wire.publisher.endpoint, events.state())
    wire.sink().send_sighting(sighting("b", Phase.LEFT, camera="cam-b"))
    table.take(take(events, 1)[0])
    console = Console(width=160, record=True, file=open("/dev/null", "w"))
    with console.file:
        console.print(table.draw(is_silent=True))
    text = console.export_text()
    assert "cam-a" in text and "left: gone" in text and "decoded=9" in text
    assert "event 4" in text and "no daemon is heard" in text

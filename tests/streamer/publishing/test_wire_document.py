"""docs/wire.md holds: its examples run, its JSON is what the daemon sends."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.publishing.events import MatchEvent, parse_event
from tests.streamer.publishing.rig import DEADLINE_S, Wire, sighting, take

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=["subscriber", "bare", "ask"])
def test_the_examples_print_what_happens(wire: Wire, program: str) -> None:
    wire.sink().send_sighting(sighting("a"))
    take(wire.subscriber(since=0), 1)
    wire_program = program.replace("tcp://127.0.0.1:5555", wire.publisher.endpoint)
    wire_program = wire_program.replace("tcp://127.0.0.1:5556", wire.publisher.ask_endpoint)
    wire_program = wire_program.replace("since=0)", f"since=0, ask_endpoint={_ask(wire)!r})")
    running = subprocess.Popen(
        [sys.executable, "-u", "-c", wire_program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with running:
        try:
            assert running.stdout is not None
            line = _first_line(running, wire)
        finally:
            running.kill()
    assert line in ("door tea exact 0.9877\n", "appeared tea 0.9877\n", "1 [1]\n")


def _ask(wire: Wire) -> str:
    return wire.publisher.ask_endpoint


def _first_line(running: "subprocess.Popen[str]", wire: Wire) -> str:
    """What it prints first; meanwhile sightings appear, for the one that asks for no history."""
    import select

    assert running.stdout is not None
    sink = wire.sink()
    for number in range(int(10 * DEADLINE_S)):
        if select.select([running.stdout], [], [], 0.1)[0]:
            return running.stdout.readline()
        if "match.door" in " ".join(map(str, running.args)):  # type: ignore[arg-type]
            sink.send_sighting(sighting(f"s{number}"))
    raise AssertionError("it printed nothing")


def test_the_match_in_the_document_is_a_match() -> None:
    block = next(b for b in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL) if "tier" in b)
    event = parse_event(block)
    assert isinstance(event, MatchEvent)
    assert list(json.loads(block)) == list(json.loads(event.model_dump_json()))

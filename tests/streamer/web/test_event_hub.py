"""The ring of live events, and streams that heal from the journal what it no longer holds."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamer.web.event_hub import EventHub, LiveEvent
from streamer.web.event_stream import stream_events
from streamer.web.journal_reader import EventFilter, JournalReader
from tests.streamer.publishing.rig import Wire, sighting, take

ANY = EventFilter()


def event(seq: int, camera: str = "door") -> LiveEvent:
    text = json.dumps({"seq": seq, "camera": camera, "type": "appeared"}).encode()
    return LiveEvent(seq, "appeared", camera, "tea", "exact", text)


def test_the_ring_gives_what_is_new_and_says_how_far_back_it_reaches() -> None:
    hub = EventHub(size=3)
    assert hub.after(0) is None
    hub.begin(10)
    assert hub.after(10) == [] and hub.after(9) is None
    hub.give([event(11), event(12)])
    hub.give([event(13), event(14)])
    assert [one.seq for one in hub.after(12) or ()] == [13, 14]
    assert hub.after(10) is None and len(hub.after(11) or ()) == 3


def seqs(pieces: list[bytes]) -> list[int]:
    lines = b"".join(pieces).decode().splitlines()
    return [json.loads(line[6:])["seq"] for line in lines if line.startswith('data: {"s')]


def take_from(
    hub: EventHub, path: Path, after: int | None, n: int, wanted: EventFilter = ANY, **more: Any
) -> list[bytes]:
    """Return the first pieces of a stream that hold so many events (or end)."""

    async def run() -> list[bytes]:
        pieces: list[bytes] = []
        content = stream_events(hub, JournalReader(path), wanted, after, lambda: True)
        async for piece in content:
            pieces.append(piece)
            if len(seqs(pieces)) >= n or (b"event: gap" in piece and more.get("until_gap")):
                break
        await content.aclose()  # type: ignore[attr-defined]
        return pieces

    return asyncio.run(asyncio.wait_for(run(), 20))


def test_a_stream_reads_from_the_journal_what_the_ring_has_lost(
    open_wire: Callable[..., Wire],
) -> None:
    wire = open_wire()
    for number in range(6):
        wire.sink().send_sighting(sighting(f"s{number}"))
    take(wire.subscriber(since=0), 6)
    hub = EventHub(size=2)
    hub.begin(4)
    hub.give([event(5), event(6), event(7, "hall")])
    assert seqs(take_from(hub, wire.journal_path, 2, 5)) == [3, 4, 5, 6, 7]
    one = EventFilter(camera="hall", cameras=frozenset(("hall",)))
    assert seqs(take_from(hub, wire.journal_path, 0, 1, one)) == [7]
    assert seqs(take_from(hub, wire.journal_path, 99, 0)) == []
    assert hub.n_streams == 0


def test_what_nobody_holds_any_more_is_told_as_a_gap(open_wire: Callable[..., Wire]) -> None:
    wire = open_wire()
    wire.sink().send_sighting(sighting("a"))
    take(wire.subscriber(since=0), 1)
    hub = EventHub(size=2)
    hub.begin(50)
    hub.give([event(51)])
    pieces = take_from(hub, wire.journal_path, 1, 1)
    told = next(piece for piece in pieces if b"gap" in piece).decode()
    assert '"first_seq": 2, "last_seq": 50' in told
    assert seqs(pieces) == [51]

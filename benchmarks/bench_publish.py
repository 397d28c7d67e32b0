"""How long an event takes from the matcher's hand-over to a subscriber: `magpie bench publish`.

Three processes as in a run: one sends sightings at a steady rate over its sink, this one numbers,
journals (on the disk of --out) and publishes, one subscribes and looks at the clock. Once more with
another subscriber that never reads. Prints a table, writes JSON, draws both. `published`: hand-over
to just before the commit and send, as `stage_ms` tells; `received`: hand-over until a subscriber
has the event. `core us`: core-time of each process an event, which is what limits the rate: the
sender's holds the making of the sighting, about a fifth of it.
"""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import percentiles, write_result
from benchmarks.plots import draw_publish
from pipeline.types import ItemId, Match, Phase, Sighting, Tier
from pipeline.writable import make_ready
from streamer.publishing import Subscriber
from streamer.publishing.journal import Journal
from streamer.publishing.options import PublishOptions
from streamer.publishing.publisher import Publisher
from streamer.publishing.sink import EventSink

RATES = (10, 100, 1000, 3000, 5000, 10_000)
STALLED_RATES = (1000, 3000)  # at which a subscriber that never reads is measured
_SILENT_S = 10.0


def run_benchmark(out: Path, seconds: float = 5.0, rates: Sequence[int] = RATES) -> Path:
    """Send for `seconds` at each rate (events a second); return the JSON's path."""
    make_ready(out, "--out", "choose another")
    figures = {f"{rate}/s": measure_rate(out, rate, seconds) for rate in rates}
    for rate in STALLED_RATES:
        figures[f"{rate}/s, one stalled"] = measure_rate(out, rate, seconds, has_stalled=True)
    path = write_result(out, "publish", {"seconds": seconds, "rates": list(rates)}, figures)
    table = Table("events", "", "n", "a second", "p50 ms", "p95 ms", "p99 ms", "max ms", "core us")
    for rate, rows in figures.items():
        for name in ("published", "received"):
            row = rows[name]
            if row is not None:
                times_ms = (str(row[key]) for key in ("p50", "p95", "p99", "max"))
                core = " · ".join(str(us) for us in rows["core_us"].values())
                table.add_row(rate, name, str(row["n"]), str(rows["a_second"]), *times_ms, core)
    Console(width=130).print(table)
    draw_publish(figures, path.with_suffix(".png"))
    return path


def measure_rate(out: Path, rate: int, seconds: float, has_stalled: bool = False) -> dict[str, Any]:
    """Latencies of one rate, in ms, how many events a second were received, and core-times."""
    n_events = max(2, int(rate * seconds))
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=out) as disk:
        with tempfile.TemporaryDirectory(prefix="mb-") as folder:
            run_dir = Path(folder)
            journal = Journal(Path(disk) / "journal.db")
            publisher = Publisher(PublishOptions(endpoint="tcp://127.0.0.1:0"), journal, run_dir)
            publisher.start()
            gc.collect()
            gc.freeze()  # as the daemon does
            where = (publisher.endpoint, publisher.ask_endpoint)
            ours, theirs = spawn.Pipe()
            used: SimpleQueue[float] = spawn.SimpleQueue()
            stalled = spawn.Process(target=_stall, args=(*where, theirs))
            if has_stalled:
                stalled.start()
                ours.recv()  # it is subscribed, and reads no more
            reader = spawn.Process(target=_read, args=(*where, n_events, theirs))
            reader.start()
            ours.recv()  # it is subscribed
            before_s = time.process_time()
            sender = spawn.Process(target=_send, args=(run_dir, rate, n_events, used))
            sender.start()
            published_ms, received_ms, took_s, reader_s = ours.recv()
            daemon_s = time.process_time() - before_s
            sender_s = used.get()
            sender.join()
            reader.join()
            if has_stalled:
                stalled.terminate()
                stalled.join()
            publisher.stop()
            journal.close()
    return {
        "published": percentiles(published_ms),
        "received": percentiles(received_ms),
        "a_second": round(len(received_ms) / took_s, 1) if took_s else 0.0,
        "core_us": {
            name: round(1e6 * used_s / n_events, 1)
            for name, used_s in zip(
                ("sender", "daemon", "subscriber"), (sender_s, daemon_s, reader_s), strict=True
            )
        },
    }


def _stall(endpoint: str, ask: str, results: Connection) -> None:
    """A subscriber that is there and never reads."""
    with Subscriber(endpoint, ask_endpoint=ask, since=0) as events:
        events.receive_dict(0.5)
        results.send("subscribed")
        threading.Event().wait()


def _send(run_dir: Path, rate: int, n_events: int, used: SimpleQueue[float]) -> None:
    sink = EventSink(run_dir, "matcher.0")
    before_s = time.process_time()
    next_s = time.monotonic()
    for number in range(n_events):
        if (wait_s := next_s - time.monotonic()) > 0:  # one that is late does not yield either
            time.sleep(wait_s)
        next_s += 1 / rate
        sink.send_sighting(_sighting(number))
    sink.close()
    used.put(time.process_time() - before_s)


def _read(endpoint: str, ask: str, n_events: int, results: Connection) -> None:
    published_ms: list[float] = []
    received_ms: list[float] = []
    began_s = ended_s = 0.0
    with Subscriber(endpoint, ask_endpoint=ask, since=0) as events:
        events.receive_dict(0.5)
        results.send("subscribed")
        before_s = time.process_time()
        while len(received_ms) < n_events:
            event = events.receive_dict(_SILENT_S)
            now_ns = time.time_ns()
            if event is None:
                break
            ended_s = time.monotonic()
            began_s = began_s or ended_s
            captured = datetime.fromisoformat(event["time"]["captured"])
            received_ms.append(now_ns / 1e6 - captured.timestamp() * 1e3)
            published_ms.append(event["stage_ms"]["publish"])
    used_s = time.process_time() - before_s
    results.send((published_ms, received_ms, ended_s - began_s, used_s))


def _sighting(number: int) -> Sighting:
    """One that is captured now, of the size that real ones have."""
    match = Match(
        item_id=ItemId(f"item-{number % 50}"),
        label="An item of the shelf",
        view_index=0,
        tier=Tier.EXACT,
        probability=0.98,
        similarity=0.83,
        margin=0.2,
        inliers=60,
        agreement=0.7,
        box_xyxy=np.array([64, 48, 320, 240], np.float32),
        outline=np.array([[64, 48], [320, 48], [320, 240], [64, 240]], np.float32),
        angle_deg=12.0,
    )
    return Sighting(
        sighting_id=f"s{number}",
        phase=Phase.APPEARED,
        camera="door",
        track_id=number,
        match=match,
        frame_number=number,
        frame_size_wh=(1280, 720),
        captured_ns=time.monotonic_ns(),
        wall_ns=time.time_ns(),
        clock="arrival",
        catalog="shelf",
        catalog_generation=1,
        stage_ms={"decode": 1.0, "wait": 2.0, "detect": 20.0, "embed": 3.0, "verify": 9.0},
    )

"""A publisher in a process of its own, for tests that kill it: RUN_DIR JOURNAL N_SIGHTINGS.

It publishes N sightings that appear and never leave, prints its last number, and waits.
"""

import sys
import threading
from pathlib import Path

import pipeline.offline  # noqa: F401
from streamer.publishing import Subscriber
from streamer.publishing.journal import Journal
from streamer.publishing.options import PublishOptions
from streamer.publishing.publisher import Publisher
from streamer.publishing.sink import EventSink
from tests.streamer.publishing.rig import sighting, take

if __name__ == "__main__":
    run_dir, n_sightings = Path(sys.argv[1]), int(sys.argv[3])
    publisher = Publisher(
        PublishOptions(endpoint="tcp://127.0.0.1:0"), Journal(Path(sys.argv[2])), run_dir
    )
    publisher.start()
    sink = EventSink(run_dir, "matcher.0")
    for number in range(n_sightings):
        sink.send_sighting(sighting(f"s{number}"))
    with Subscriber(publisher.endpoint, ask_endpoint=publisher.ask_endpoint, since=0) as events:
        print(take(events, n_sightings)[-1]["seq"], flush=True)
    threading.Event().wait()

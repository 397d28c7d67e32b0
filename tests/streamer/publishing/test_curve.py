"""Keys: only who has them reads, and only whom the daemon knows."""

from collections.abc import Callable
from pathlib import Path

import pytest
import zmq
import zmq.auth

from pipeline.errors import ConfigError
from streamer.publishing import Subscriber
from streamer.publishing.journal import Journal
from streamer.publishing.options import PublishOptions
from streamer.publishing.publisher import Publisher
from streamer.publishing.sockets import private_endpoints
from tests.fakes import wait_until
from tests.streamer.publishing.rig import Wire, is_live, sighting, take

SOCKETS = ("live.sock", "ask.sock", "events.sock")
pytestmark = pytest.mark.skipif(not zmq.has("curve"), reason="this zmq was built without CURVE")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the daemon's keys, and clients/ with the one reader that it knows."""
    folder = tmp_path / "keys"
    (folder / "clients").mkdir(parents=True)
    zmq.auth.create_certificates(folder, "server")
    zmq.auth.create_certificates(folder, "client")
    (folder / "client.key").rename(folder / "clients" / "client.key")
    return folder


def test_a_known_reader_with_keys_gets_events_and_answers(
    open_wire: Callable[..., Wire], keys: Path
) -> None:
    wire = open_wire(curve_keys=keys, heartbeat_s=0.1)
    events = wire.subscriber(since=0, keys=keys)
    wire.sink().send_sighting(sighting("a"))
    assert take(events, 1)[0]["seq"] == 1
    wait_until(lambda: is_live(events))


def test_without_keys_or_unknown_nobody_is_heard(
    open_wire: Callable[..., Wire], keys: Path
) -> None:
    wire = open_wire(curve_keys=keys, heartbeat_s=0.05)
    known = wire.subscriber(since=0, keys=keys)
    bare = wire.subscriber(since=0)
    (keys / "client.key_secret").unlink()  # from now on a passing pair is made
    unknown = wire.subscriber(since=0, keys=keys)
    wire.sink().send_sighting(sighting("a"))
    take(known, 1)
    for stranger in (bare, unknown):
        assert stranger.receive_dict(0.5) is None and stranger.last_seq == 0
        assert stranger._journal_id is None  # no answer, no heartbeat


def test_without_a_folder_of_clients_the_servers_key_is_enough(
    open_wire: Callable[..., Wire], keys: Path
) -> None:
    (keys / "clients" / "client.key").unlink()
    (keys / "clients").rmdir()
    (keys / "client.key_secret").unlink()
    wire = open_wire(curve_keys=keys)
    wire.sink().send_sighting(sighting("a"))
    assert take(wire.subscriber(since=0, keys=keys), 1)[0]["seq"] == 1


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("server.key_secret", "curve keys: a CURVE certificate is needed"),
        ("clients/client.key", "must hold a public key"),
    ],
)
def test_missing_keys_are_a_usage_error_with_the_command_that_makes_them(
    run_dir: Path, keys: Path, missing: str, text: str
) -> None:
    (keys / missing).unlink()
    journal = Journal(run_dir / "journal.db")
    options = PublishOptions(endpoint="tcp://127.0.0.1:0", curve_keys=keys)
    publisher = Publisher(options, journal, run_dir)
    with pytest.raises(ConfigError, match=f"{text}.*magpie keys curve"):
        publisher.start()
    journal.close()


def test_workers_of_the_run_hear_and_ask_without_keys_through_its_own_folder(
    open_wire: Callable[..., Wire], keys: Path
) -> None:
    wire = open_wire(curve_keys=keys, heartbeat_s=0.1)
    live, ask = private_endpoints(wire.run_dir)
    with Subscriber(live, since=0, ask_endpoint=ask) as inside:
        wire.sink().send_sighting(sighting("a"))
        assert take(inside, 1)[0]["seq"] == 1
        wait_until(lambda: is_live(inside))
    assert all(wire.run_dir.joinpath(name).stat().st_mode & 0o77 == 0 for name in SOCKETS)

"""The addresses that a publisher opens: free, in use, or of another machine."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from streamer.publishing.journal import Journal
from streamer.publishing.options import PublishOptions
from streamer.publishing.publisher import Publisher
from streamer.publishing.sockets import refuse_used
from tests.streamer.publishing.rig import Wire, sighting, take

ROOT = Path(__file__).resolve().parents[3]


def test_a_port_in_use_is_a_usage_error_and_leaves_nothing_open(run_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = PublishOptions(endpoint=f"tcp://127.0.0.1:{port}")
        journal = Journal(run_dir / "journal.db")
        publisher = Publisher(options, journal, run_dir)
        match = f"publish.endpoint: must be free.*{port}.*--publish"
        with pytest.raises(ConfigError, match=match):
            refuse_used(options)
        with pytest.raises(ConfigError, match=match):
            publisher.start()
        publisher.stop()
        journal.close()
        assert ConfigError.exit_code == 2


def test_a_taken_ask_port_is_named(run_dir: Path, wire: Wire) -> None:
    other = run_dir / "other"
    other.mkdir()
    options = PublishOptions(endpoint="tcp://127.0.0.1:0", ask_endpoint=wire.publisher.endpoint)
    journal = Journal(other / "journal.db")
    with pytest.raises(ConfigError, match=r"publish\.ask_endpoint: must be free"):
        Publisher(options, journal, other).start()
    journal.close()


def test_a_look_at_a_free_port_leaves_it_free(run_dir: Path) -> None:
    port = _two_free_ports()
    options = PublishOptions(endpoint=f"tcp://127.0.0.1:{port}")
    for _ in range(20):
        refuse_used(options)
    journal = Journal(run_dir / "journal.db")
    publisher = Publisher(options, journal, run_dir)
    publisher.start()
    publisher.stop()
    journal.close()


def _two_free_ports() -> int:
    """Return the first of two ports below those that the system gives to whoever asks."""
    for port in range(20_000, 30_000, 2):
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two free ports")


def test_an_address_of_another_machine_is_refused(run_dir: Path) -> None:
    journal = Journal(run_dir / "journal.db")
    options = PublishOptions(endpoint="tcp://192.0.2.1:5999", insecure=True)
    with pytest.raises(ConfigError, match="must be an address of this machine"):
        Publisher(options, journal, run_dir).start()
    journal.close()


def test_an_ipc_endpoint_works_and_is_not_taken_over(
    open_wire: Callable[..., Wire], run_dir: Path
) -> None:
    endpoint = f"ipc://{run_dir}/ev"
    wire = open_wire(endpoint=endpoint)
    events = wire.subscriber(since=0, ask_endpoint=None)
    wire.sink().send_sighting(sighting("a"))
    assert take(events, 1)[0]["seq"] == 1
    other = run_dir / "other"
    other.mkdir()
    journal = Journal(other / "journal.db")
    with pytest.raises(ConfigError, match=r"publish\.endpoint: must be free"):
        Publisher(PublishOptions(endpoint=endpoint), journal, other).start()
    journal.close()

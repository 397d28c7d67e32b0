"""Opens wires, servers and sinks for tests, and closes them."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from streamer.sinks.options import MqttOptions, WebhookOptions
from tests.streamer.publishing.conftest import open_wire, run_dir, wire
from tests.streamer.publishing.rig import Wire
from tests.streamer.sinks.rig import Broker, HookServer, Listener, SinkRun, make_certificate

__all__ = ["open_wire", "run_dir", "wire"]


@pytest.fixture
def start_sink(wire: Wire) -> Iterator[Callable[[MqttOptions | WebhookOptions], SinkRun]]:
    with ExitStack() as open_things:

        def start(options: MqttOptions | WebhookOptions) -> SinkRun:
            run = SinkRun(wire, options)
            open_things.callback(run.stop)
            run.until(run.position_path.exists, "the sink has opened the journal")
            return run

        yield start


@pytest.fixture
def hook() -> Iterator[HookServer]:
    server = HookServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def make_broker(
    tmp_path: Path, need_tool: Callable[[bool, str], None]
) -> Iterator[Callable[..., Broker]]:
    """Starts a broker with further lines of its configuration."""
    need_tool(Broker.is_there(), "mosquitto")
    with ExitStack() as open_things:

        def make(*lines: str) -> Broker:
            broker = Broker(tmp_path, *lines)
            broker.start()
            open_things.callback(broker.stop)
            return broker

        yield make


@pytest.fixture
def certificate(tmp_path: Path, need_tool: Callable[[bool, str], None]) -> tuple[Path, Path]:
    """Certificate and key of 127.0.0.1."""
    need_tool(shutil.which("openssl") is not None, "openssl")
    return make_certificate(tmp_path)


@pytest.fixture
def broker(make_broker: Callable[..., Broker]) -> Broker:
    return make_broker()


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    listener = Listener(broker.port)
    yield listener
    listener.close()

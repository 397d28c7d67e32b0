"""MQTT against a real broker: at least once, in order, states that are true, through failures."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.types import Phase
from streamer.sinks.options import MqttOptions
from tests.streamer.publishing.rig import Wire, sighting
from tests.streamer.sinks.rig import (
    Broker,
    Listener,
    SinkRun,
    send_sightings,
    without_repeats,
)

Start = Callable[[MqttOptions], SinkRun]


def options(broker: Broker, **more: object) -> MqttOptions:
    return MqttOptions.model_validate({"host": "127.0.0.1", "port": broker.port, **more})


def test_each_event_is_published_once_in_order_as_on_the_wire(
    wire: Wire, broker: Broker, listener: Listener, start_sink: Start
) -> None:
    run = start_sink(options(broker))
    names = send_sightings(wire, 1, 100)
    run.until(lambda: len(listener.sightings()) >= 100, "all have come")
    run.stop()
    assert listener.sightings() == names
    with wire.subscriber(since=0) as events:
        published = [events.receive_dict(10) for _ in range(100)]
    assert [json.loads(text) for text in listener.of("magpie/events")] == published
    assert run.position() == published[-1]["seq"]  # type: ignore[index]
    assert listener.of("magpie/available") == ["online", "offline"]


def test_items_in_view_are_counted_in_retained_topics(
    wire: Wire, broker: Broker, listener: Listener, start_sink: Start
) -> None:
    run = start_sink(options(broker))
    wire.publisher.publish_status("camera.door", "running")
    send_sightings(wire, 1, 2)
    run.until(lambda: listener.last("magpie/door/tea") == "2", "two are in view")
    run.until(lambda: listener.last("magpie/door/tea/attributes"), "the best is told")
    attributes = json.loads(listener.last("magpie/door/tea/attributes") or "")
    assert attributes["label"] == "Tea" and attributes["tier"] == "exact"
    assert listener.last("magpie/door/status") == "running"
    for name in ("s1", "s2"):
        wire.sink().send_sighting(sighting(name, Phase.LEFT))
    run.until(lambda: listener.last("magpie/door/tea") == "0", "none is in view")
    late = Listener(broker.port)  # the same client: the first one is shut out
    run.until(lambda: late.last("magpie/door/tea") == "0", "the topic is retained")
    assert all(retain for topic, _, retain in late.messages if topic.startswith("magpie/door"))
    assert not late.of("magpie/events")
    late.close()


def test_home_assistant_hears_of_each_item_and_camera(
    wire: Wire, broker: Broker, listener: Listener, start_sink: Start
) -> None:
    run = start_sink(options(broker, home_assistant=True))
    wire.publisher.publish_status("camera.door", "running")
    send_sightings(wire, 1, 1)

    def configs() -> dict[str, dict[str, object]]:
        found = [(t, text) for t, text, _ in listener.messages if t.startswith("homeassistant/")]
        return {topic: json.loads(text) for topic, text in found}

    run.until(lambda: len(configs()) >= 2, "both are announced")
    by_class = {str(config["device_class"]): config for config in configs().values()}
    occupancy, connectivity = by_class["occupancy"], by_class["connectivity"]
    assert occupancy["state_topic"] == "magpie/door/tea" and occupancy["name"] == "Tea"
    assert connectivity["state_topic"] == "magpie/door/status"
    assert occupancy["device"] == connectivity["device"]
    assert occupancy["unique_id"] != connectivity["unique_id"]
    for topic in configs():
        assert topic.split("/")[1] == "binary_sensor" and topic.endswith("/config")
    assert all(r for t, _, r in listener.messages if t.startswith("homeassistant/")) is False


def test_broker_that_restarts_misses_nothing_and_gets_its_states_again(
    wire: Wire, broker: Broker, listener: Listener, start_sink: Start
) -> None:
    run = start_sink(options(broker))
    names = send_sightings(wire, 1, 20)
    run.until(lambda: len(listener.sightings()) >= 20, "the first have come")
    broker.stop()
    run.until_state("reconnecting")
    names += send_sightings(wire, 21, 40)
    listener.messages.clear()
    broker.start()
    run.until(lambda: "s40" in listener.sightings() or listener.last("magpie/door/tea"), "back")
    run.until(lambda: listener.last("magpie/door/tea") == "40", "the states are there again")
    run.until_state("running")
    assert listener.last("magpie/available") == "online"
    names += send_sightings(wire, 41, 41)
    run.until(lambda: "s41" in listener.sightings(), "it goes on")
    came = without_repeats(listener.sightings())
    assert came == names[-len(came) :] and run.reports[-1].counters["lost"] == 0


@pytest.mark.slow
def test_broker_that_hangs_is_left_and_gets_all_when_it_is_back(
    wire: Wire, broker: Broker, listener: Listener, start_sink: Start
) -> None:
    run = start_sink(options(broker))
    names = send_sightings(wire, 1, 1)
    run.until(lambda: listener.sightings(), "the first has come")
    broker.signal(signal.SIGSTOP)
    names += send_sightings(wire, 2, 60)
    run.until_state("reconnecting")
    broker.signal(signal.SIGCONT)
    run.until(lambda: len(without_repeats(listener.sightings())) >= 60, "all have come")
    assert without_repeats(listener.sightings()) == names


def test_killed_sink_goes_on_where_it_was(
    wire: Wire, broker: Broker, listener: Listener, start_sink: Start
) -> None:
    run = start_sink(options(broker))
    names = send_sightings(wire, 1, 300)
    for count in (20, 120):
        run.until(lambda count=count: len(listener.sightings()) >= count, "some have come")  # type: ignore[misc]
        run.kill()
    run.until(lambda: len(without_repeats(listener.sightings())) >= 300, "all have come")
    assert without_repeats(listener.sightings()) == names
    assert len(listener.sightings()) <= 300 + 2 * 20  # what was under way at each death
    assert "offline" in listener.of("magpie/available")  # its last will


def test_item_that_left_while_no_sink_ran_is_told_gone(
    wire: Wire, broker: Broker, listener: Listener, start_sink: Start
) -> None:
    run = start_sink(options(broker))
    send_sightings(wire, 1, 1)
    run.until(lambda: listener.last("magpie/door/tea") == "1", "it is in view")
    run.stop()
    wire.sink().send_sighting(sighting("s1", Phase.LEFT))
    with wire.subscriber(since=0) as events:
        assert events.receive_dict(10) and events.receive_dict(10)
    start_sink(options(broker)).until(lambda: listener.last("magpie/door/tea") == "0", "gone")


def test_user_and_password_come_from_environment_and_file_and_are_never_told(
    wire: Wire, make_broker: Callable[..., Broker], start_sink: Start, tmp_path: Path,
    capfd: object, monkeypatch: object,
) -> None:  # fmt: skip
    """1. The password is wrong: the broker refuses. 2. The file is mended while the sink runs.
    Result: it comes in by itself; neither password is in log or reports."""
    passwords, file = tmp_path / "passwords", tmp_path / "password"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", passwords, "magpie", "Kanarien/vogel77#"], check=True
    )
    broker = make_broker(f"password_file {passwords}", "allow_anonymous false")
    monkeypatch.setenv("MAGPIE_TEST_USER", "magpie")  # type: ignore[attr-defined]
    file.write_text("Kanarien/falsch\n")
    run = start_sink(
        options(broker, user="${MAGPIE_TEST_USER}", password=SecretStr(f"file:{file}"))
    )
    reason = str(run.until_state("reconnecting").reason)
    assert "refuses" in reason and "not authorized" in reason.lower()
    file.write_text("Kanarien/vogel77#\n")
    run.until_state("running")
    listener = Listener(broker.port, user="magpie", password="Kanarien/vogel77#")
    names = send_sightings(wire, 1, 2)
    run.until(lambda: listener.sightings() == names, "both have come")
    listener.close()
    run.stop()
    assert "anarien" not in f"{run.reports}{capfd.readouterr().err}"  # type: ignore[attr-defined]


def test_certificate_of_the_broker_is_checked(
    wire: Wire,
    make_broker: Callable[..., Broker],
    start_sink: Start,
    certificate: tuple[Path, Path],
) -> None:
    shown, key = certificate
    broker = make_broker(f"certfile {shown}", f"keyfile {key}")
    run = start_sink(options(broker, tls=True))
    assert "certificate is refused" in str(run.until_state("reconnecting").reason)
    run.stop()
    send_sightings(wire, 1, 1)
    start_sink(options(broker, tls=True, ca=shown)).until_state("running")

"""Webhooks against a real HTTP server: at least once, in order, signed, through every failure."""

import base64
import hashlib
import hmac
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from pipeline.types import Phase
from streamer.sinks.options import WebhookOptions
from tests.streamer.publishing.rig import Wire, sighting
from tests.streamer.sinks.rig import (
    HookServer,
    SinkRun,
    send_sightings,
    without_repeats,
)

Start = Callable[[WebhookOptions], SinkRun]


def options(hook: HookServer, path: str = "/hook", **more: object) -> WebhookOptions:
    url = SecretStr(f"http://127.0.0.1:{hook.port}{path}")
    return WebhookOptions.model_validate({"url": url, "retry_max_s": 1.0, **more})


def test_each_event_is_posted_once_in_order_as_it_was_published(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    run = start_sink(options(hook))
    names = send_sightings(wire, 1, 30)
    run.until(lambda: len(hook.posts) >= 30, "all are posted")
    run.stop()
    assert hook.taken() == names
    with wire.subscriber(since=0) as events:
        published = [events.receive_dict(10) for _ in range(30)]
    assert [post.event for post in hook.posts] == published
    assert hook.posts[0].headers["Content-Type"] == "application/json"
    assert run.position() == published[-1]["seq"]  # type: ignore[index]


def test_signature_is_of_the_standard_and_over_id_time_and_body(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    key = bytes(range(24))
    secret = SecretStr(f"whsec_{base64.b64encode(key).decode()}")
    run = start_sink(options(hook, secret=secret))
    send_sightings(wire, 1, 1)
    run.until(lambda: hook.posts, "it is posted")
    post = hook.posts[0]
    event_id, sent = post.headers["webhook-id"], post.headers["webhook-timestamp"]
    assert event_id == post.event["event_id"] and abs(int(sent) - time.time()) < 60
    digest = hmac.new(key, f"{event_id}.{sent}.".encode() + post.body, hashlib.sha256).digest()
    assert post.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_server_that_fails_gets_the_same_event_again_before_any_other(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    hook.answers += [500, 503, (429, {"Retry-After": "1"}), 401, 302]
    run = start_sink(options(hook))
    names = send_sightings(wire, 1, 5)
    run.until(lambda: len(hook.taken()) >= 5, "all are taken")
    assert hook.taken() == names
    assert [post.event["sighting_id"] for post in hook.posts[:6]] == ["s1"] * 6
    reasons = [report.reason or "" for report in run.reports if report.state == "reconnecting"]
    assert any(reason.startswith("it answered 500") for reason in reasons), reasons
    assert run.until_state("running").counters["delivered"] >= 1


def test_event_that_the_server_refuses_for_itself_is_left_out_after_three_tries(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    hook.answers += [422, 422, 422]
    run = start_sink(options(hook))
    send_sightings(wire, 1, 3)
    run.until(lambda: len(hook.taken()) >= 2, "the others are taken")
    assert hook.taken() == ["s2", "s3"] and len(hook.posts) == 5


def test_server_that_is_down_for_a_while_misses_nothing(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    run = start_sink(options(hook))
    names = send_sightings(wire, 1, 5)
    run.until(lambda: len(hook.posts) >= 5, "the first are posted")
    hook.stop()
    names += send_sightings(wire, 6, 15)
    assert "Connection refused" in str(run.until_state("reconnecting").reason)
    hook.start()
    run.until(lambda: len(without_repeats(hook.taken())) >= 15, "all are posted")
    assert hook.taken() == names


def test_server_that_never_answers_is_waited_for(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    """1. Something listens there and says nothing. 2. The server is back. Result: nothing lost."""
    hook.stop()
    with socket.create_server(("127.0.0.1", hook.port)):
        run = start_sink(options(hook, timeout_s=0.3))
        names = send_sightings(wire, 1, 3)
        assert "no answer in time" in str(run.until_state("reconnecting").reason)
    hook.start()
    run.until(lambda: len(hook.taken()) >= 3, "all are posted")
    assert hook.taken() == names


def test_killed_sink_goes_on_where_it_was_and_repeats_at_most_what_was_under_way(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    run = start_sink(options(hook))
    names = send_sightings(wire, 1, 200)
    for count in (20, 60, 100):
        run.until(lambda count=count: len(hook.posts) >= count, "some are posted")  # type: ignore[misc]
        run.kill()
    run.until(lambda: len(without_repeats(hook.taken())) >= 200, "all are posted")
    assert without_repeats(hook.taken()) == names
    assert len(hook.taken()) <= 203


def test_what_happened_while_no_daemon_and_no_sink_ran_comes_with_the_next_start(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    """1. A sink delivers; both stop, which writes a `left`. 2. Both start again.
    Result: the `left` comes, and nothing twice.
    """
    run = start_sink(options(hook))
    send_sightings(wire, 1, 1)
    run.until(lambda: hook.posts, "the first is posted")
    run.stop()
    wire.restart()
    run = start_sink(options(hook))
    run.until(lambda: len(hook.posts) >= 2, "the rest is posted")
    assert [(post.event["type"], post.event["reason"]) for post in hook.posts] == [
        ("appeared", None), ("left", "stopped"),
    ]  # fmt: skip


def test_stopping_sink_delivers_what_waits(wire: Wire, hook: HookServer, start_sink: Start) -> None:
    run = start_sink(options(hook))
    names = send_sightings(wire, 1, 20)
    with wire.subscriber(since=0) as events:
        for _ in range(20):
            assert events.receive_dict(10)
    run.stop()
    assert hook.taken() == names


def test_filters_by_camera_item_tier_and_type(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    run = start_sink(
        options(hook, cameras=("hall",), items=("t?a",), tiers=("exact",), types=("appeared",))
    )
    send_sightings(wire, 1, 1)
    send_sightings(wire, 2, 2, camera="hall")
    wire.sink().send_sighting(sighting("s2", Phase.LEFT, camera="hall"))
    send_sightings(wire, 3, 3, camera="hall")
    run.until(lambda: len(hook.posts) >= 2, "two are posted")
    run.stop()
    assert hook.taken() == ["s2", "s3"]


def test_what_the_journal_forgot_is_told_as_a_gap(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    run = start_sink(options(hook))
    send_sightings(wire, 1, 1)
    run.until(lambda: hook.posts, "the first is posted")
    run.stop()
    send_sightings(wire, 2, 9)
    with wire.subscriber(since=0) as events:
        seqs = [event["seq"] for event in (events.receive_dict(10) for _ in range(9)) if event]
    with wire.journal.write_lock, wire.journal._db as db:
        db.execute("DELETE FROM events WHERE seq <= ?", (seqs[5],))
        db.execute("UPDATE meta SET value = ? WHERE key = 'pruned_seq'", (seqs[5],))
    run = start_sink(options(hook))
    run.until(lambda: len(hook.posts) >= 5, "the rest is posted")
    gap = hook.posts[1].event
    assert (gap["type"], gap["reason"]) == ("gap", "pruned")
    assert (gap["first_seq"], gap["last_seq"]) == (seqs[1], seqs[5])
    assert hook.taken() == ["s1", "gap", "s7", "s8", "s9"]
    run.until(lambda: run.reports and run.reports[-1].counters.get("lost") == 5, "it counts them")


def test_another_journal_in_its_place_is_delivered_from_its_first_event(
    wire: Wire, hook: HookServer, start_sink: Start
) -> None:
    run = start_sink(options(hook))
    send_sightings(wire, 1, 3)
    run.until(lambda: len(hook.posts) >= 3, "the first are posted")
    run.stop()
    wire.stop()
    for file in wire.run_dir.glob("journal.db*"):
        if "sink" not in file.name:
            file.unlink()
    wire.restart()
    send_sightings(wire, 11, 12)
    start_sink(options(hook)).until(lambda: len(hook.posts) >= 5, "the others are posted")
    assert hook.taken() == ["s1", "s2", "s3", "s11", "s12"]


def test_certificate_is_checked(
    wire: Wire, hook: HookServer, start_sink: Start, certificate: tuple[Path, Path]
) -> None:
    shown, key = certificate
    hook.stop()
    hook.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    hook.tls.load_cert_chain(shown, key)
    hook.start()
    url = SecretStr(f"https://127.0.0.1:{hook.port}/hook")
    run = start_sink(WebhookOptions(url=url))
    send_sightings(wire, 1, 1)
    assert "certificate" in str(run.until_state("reconnecting").reason).lower()
    run.stop()
    assert not hook.posts
    start_sink(WebhookOptions(url=url, ca=shown)).until(lambda: hook.posts, "it is posted")


def test_no_secret_in_what_the_worker_says(
    wire: Wire, hook: HookServer, start_sink: Start, capfd: object
) -> None:
    secret = "Kanarienvogel77"
    path = f"/services/{secret}1?token={secret}2"
    run = start_sink(options(hook, path, secret=SecretStr(f"{secret}3")))
    hook.stop()
    send_sightings(wire, 1, 1)
    reason = run.until_state("reconnecting").reason
    hook.start()
    run.until(lambda: hook.posts, "it is posted")
    run.stop()
    assert hook.posts[0].path == path
    said = f"{reason} {capfd.readouterr().err}"  # type: ignore[attr-defined]
    assert "Kanarien" not in said and f"(http://127.0.0.1:{hook.port})" in said

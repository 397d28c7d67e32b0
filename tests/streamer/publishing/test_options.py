"""The rules of endpoints, and where the journal lies."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.errors import ConfigError
from streamer.publishing.journal import Journal
from streamer.publishing.options import PublishOptions, journal_path, parse_endpoint


@pytest.mark.parametrize(
    ("endpoint", "ask"),
    [
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556"),
        ("tcp://localhost:80", "tcp://localhost:81"),
        ("tcp://[::1]:5555", "tcp://[::1]:5556"),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:0"),
        ("ipc:///run/magpie", "ipc:///run/magpie.ask"),
    ],
)
def test_the_ask_socket_lies_one_port_up(endpoint: str, ask: str) -> None:
    events, asked = PublishOptions(endpoint=endpoint).check()
    assert (events.text, asked.text) == (endpoint, ask)


@pytest.mark.parametrize(
    "endpoint",
    ["", "5555", "http://127.0.0.1:5555", "tcp://127.0.0.1", "tcp://:5555", "tcp://127.0.0.1:70000",
     "tcp://127.0.0.1:65535", "ipc://", "ipc://" + "x" * 200, "tcp://127.0.0.1:5555/events"],
)  # fmt: skip
def test_an_endpoint_of_the_wrong_form_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError, match=r"publish\.endpoint: "):
        PublishOptions(endpoint=endpoint)


@pytest.mark.parametrize(
    "endpoint", ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://10.0.0.4:5555", "tcp://eth0:5555"]
)
def test_an_endpoint_that_others_reach_needs_keys_or_insecure(endpoint: str) -> None:
    with pytest.raises(ValidationError, match=r"must be a loopback address, got 'tcp:.*--insecure"):
        PublishOptions(endpoint=endpoint)
    with pytest.raises(ValidationError, match=r"publish\.ask_endpoint: without keys"):
        PublishOptions(ask_endpoint=endpoint)
    assert PublishOptions(endpoint=endpoint, insecure=True).endpoint == endpoint
    assert PublishOptions(endpoint=endpoint, curve_keys=Path("keys")).endpoint == endpoint


def test_a_password_in_an_endpoint_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoint("tcp://user:hunter2@10.0.0.4:5555")
    assert "hunter2" not in str(caught.value)


def test_the_journal_is_named_by_port_and_lies_in_the_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    run_dir = tmp_path / "run"
    assert journal_path(PublishOptions(), run_dir) == tmp_path / "magpie" / "5555.db"
    anywhere = PublishOptions(endpoint="tcp://127.0.0.1:0")
    assert journal_path(anywhere, run_dir) == run_dir / "journal.db"
    over_ipc = PublishOptions(endpoint="ipc:///run/a b")
    assert journal_path(over_ipc, run_dir) == tmp_path / "magpie" / "run-a-b.db"
    named = PublishOptions(journal=tmp_path / "mine.db")
    assert journal_path(named, run_dir) == tmp_path / "mine.db"


@pytest.mark.parametrize("name", [b":memory:", b"file:a.db?mode=memory", b"caf\xe9 %.db"])
def test_a_journal_may_have_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    options = PublishOptions(journal=Path(os.fsdecode(name)))
    Journal(journal_path(options, tmp_path / "run")).close()
    assert (tmp_path / os.fsdecode(name)).stat().st_size > 0

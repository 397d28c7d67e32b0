"""The rules of `web:`, and `--web` with and without an address."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.errors import ConfigError
from streamer.cli.daemon import RunCommand
from streamer.web.key_file import Scope, change_key_file
from streamer.web.keys import make_key, with_key
from streamer.web.options import WebOptions, check_access, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port", "is_local"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:80", "::1", 80, True),
        ("0.0.0.0:80", "", 80, False),
        ("*:80", "", 80, False),
        (":80", "", 80, False),
        ("cam.example:80", "cam.example", 80, False),
    ],
)
def test_addresses(text: str, host: str, port: int, is_local: bool) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.is_local) == (host, port, is_local)


@pytest.mark.parametrize("text", ["", "8080", "127.0.0.1", "h:65536", "http://h:80", "h:80/x"])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match=r"web\.address"):
        parse_address(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_path": "magpie"},
        {"base_path": "/a/../b"},
        {"trusted_proxies": ["10.0.0.0/99"]},
        {"cors_origins": ["*"]},
        {"tls_cert": "cert.pem"},
    ],
)
def test_other_rules(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WebOptions.model_validate(wrong)


def test_it_is_open_on_loopback_only_and_not_behind_a_proxy() -> None:
    assert WebOptions().is_open
    assert not WebOptions(trusted_proxies=("127.0.0.1/32",)).is_open
    assert not WebOptions(require_key=True).is_open
    assert not WebOptions(address="0.0.0.0:1").is_open


def test_a_key_must_be_there_where_one_is_needed(tmp_path: Path) -> None:
    journal = tmp_path / "5555.db"
    check_access(WebOptions(address="*:80"), journal)  # off
    others = WebOptions(enabled=True, address="*:80")
    for needs in (others, WebOptions(enabled=True, require_key=True)):
        with pytest.raises(ConfigError, match="magpie keys add NAME --file"):
            check_access(needs, journal)
    with pytest.raises(ConfigError, match="for loopback addresses only"):
        check_access(WebOptions(enabled=True, address="*:80", require_key=False), journal)
    _, entry = make_key("k", [Scope.READ])
    change_key_file(Path(f"{journal}.keys"), lambda file: with_key(file, entry))
    check_access(others, journal)


@pytest.mark.parametrize(
    ("args", "filled"),
    [
        (["--web"], ["--web=127.0.0.1:8080"]),
        (["--web", "clip.mp4"], ["--web=127.0.0.1:8080", "clip.mp4"]),
        (["--web", "rtsp://h:554/1"], ["--web=127.0.0.1:8080", "rtsp://h:554/1"]),
        (["--web", ":9000", "clip.mp4"], ["--web", ":9000", "clip.mp4"]),
        (["--web=h:1"], ["--web=h:1"]),
    ],
)
def test_web_may_stand_alone(args: list[str], filled: list[str]) -> None:
    assert RunCommand.with_address(args) == filled

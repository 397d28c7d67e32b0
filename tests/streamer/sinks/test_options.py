"""`sinks:` in a configuration: what may stand there, each mistake with its line, no secret told."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from streamer.config import AppConfig
from streamer.config_file import load_config, read_config
from streamer.process_table import sink_workers

ROOT = Path(__file__).resolve().parents[3]


def write(folder: Path, sinks: str) -> Path:
    shelf = folder / "shelf" / "generations" / "000001"
    shelf.mkdir(parents=True, exist_ok=True)
    (folder / "shelf" / "CURRENT").write_text("1\n")
    file = folder / "magpie.yaml"
    file.write_text(f"catalog: shelf\ncameras:\n  door: {{url: 'test:'}}\nsinks:\n{sinks}")
    return file


def refusal(folder: Path, sinks: str) -> str:
    with pytest.raises(ConfigError) as told:
        load_config(write(folder, sinks))
    return str(told.value)


def test_there_is_no_sink_unless_one_is_named() -> None:
    assert sink_workers(AppConfig()) == []


def test_each_sink_is_a_worker_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("Kanarie-datei")
    file = write(
        tmp_path,
        "  mqtt:\n    home: {host: 127.0.0.1}\n"
        "  webhook:\n    shop: {url: 'https://127.0.0.1/in', secret: 'file:key', tiers: [exact]}\n",
    )
    table = sink_workers(load_config(file))
    assert [row.name for row in table] == [
        "sink.mqtt.home",
        "sink.webhook.shop",
    ]
    for row in table:
        assert pickle.loads(pickle.dumps(row.args)) == row.args


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("mqtt", "{hots: x}", "home.hots (line 6): unknown key; did you mean 'host'?"),
        ("mqtt", "{host: 'mqtt://h:1883'}", "expected a name or an address, without mqtt://"),
        ("mqtt", "{host: h, qos: 3}", "home.qos (line 6): must be less than or equal to 2"),
        ("mqtt", "{host: h, topic_prefix: a/#}", "expected a topic without + # and empty parts"),
        ("mqtt", "{host: h, ca: x}", "ca, client_cert and client_key need tls: true"),
        ("mqtt", "{host: h, tls: true, ca: x}", "home.ca (line 6): file: no such file"),
        ("mqtt", "{host: h, password: p}", "a password needs a user"),
        ("mqtt", "{host: h, user: '${NOWHERE_X}'}", "environment variable NOWHERE_X: a secret"),
        ("webhook", "{}", "home.url (line 6): is required"),
        ("webhook", "{url: 'ftp://h/Kanarie77Kanarie'}", "home.url (line 6): address of a webhook"),
        ("webhook", "{url: 'https://h/', types: [apeared]}", "home.types.0"),
    ],
)
def test_mistake_is_told_with_its_line(tmp_path: Path, kind: str, options: str, says: str) -> None:
    told = refusal(tmp_path, f"  {kind}:\n    home: {options}\n")
    assert says in told and "Kanarie" not in told


def test_nothing_that_shows_options_shows_a_secret(tmp_path: Path) -> None:
    config = read_config(
        write(
            tmp_path,
            "  mqtt:\n    home: {host: h, user: u, password: Kanarie77}\n"
            "  webhook:\n    shop:\n      secret: Kanarie80\n"
            "      url: 'https://u:Kanarie78@h/in/Kanarie79Kanarie'\n",
        )
    )
    assert "Kanarie" not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"


def test_worker_knows_the_secrets_of_the_options_that_it_is_handed(tmp_path: Path) -> None:
    file = write(tmp_path, "  mqtt:\n    home: {host: h, user: u, password: Kanarie/77}\n")
    handed = tmp_path / "handed"
    handed.write_bytes(pickle.dumps(sink_workers(read_config(file))[0].args))
    code = (
        "import pickle, sys; from streamer.redaction import redact\n"
        "pickle.load(open(sys.argv[1], 'rb')); print(redact('bad Kanarie/77, Kanarie%2F77'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(handed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "bad ***, ***\n", done.stderr

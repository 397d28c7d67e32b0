"""`magpie` as users run it: nothing that it prints or leaves behind holds a password."""

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.sources.base import SourceOptions

ROOT = Path(__file__).resolve().parents[2]
ENCODED = "percent-encoded, e.g. %40"
COMMANDS = """
import json, sys
from streamer.cli import main
sys.stdout = sys.stderr
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as ended:
        print("exit", ended.code, end="NEXT", flush=True)
"""


def python(folder: Path, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MAGPIE_CACHE": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def magpie(folder: Path, *commands: list[str]) -> list[str]:
    """Return all that each command says, with "exit" and its code at the end.

    They share a process, to be quick: each needs a password of its own, as what one has learned to
    hide would cover for the next.
    """
    return python(folder, COMMANDS, json.dumps(commands)).stderr.split("NEXT")[:-1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


PROBED = [  # source, what the sentence says ("": whatever the network says)
    ("rtsp://admin:Geheim77#1@HOST/s", ENCODED),
    ("rtsp://admin:Geheim77/1@HOST/s", ENCODED),
    ("rtsp://admin:Geheim77?1@HOST/s", ENCODED),
    ("rtsp://ad#min:Geheim77@HOST/s", ENCODED),
    ("http://admin:Geheim77[x@HOST/s", ENCODED),
    ("rtsp://admin:1/Geheim77@HOST/s", ""),
    ("rtsp://admin:50%Geheim77@HOST/s", "nothing listens there"),
    ("rtsp://admin:ge Geheim77@HOST/s", "nothing listens there"),
    ("rtsp://admin:x@Geheim77@HOST/s", "nothing listens there"),
    ("admin:Geheim77@HOST/s", "is rtsp:// or http:// missing?"),
    ("//admin:Geheim77@HOST/s", "is rtsp:// or http:// missing?"),
    ("rtsp:/admin:Geheim77@HOST/s", "is rtsp:// or http:// missing?"),
    ("rtsp:admin:ge Geheim77@HOST/s", "is rtsp:// or http:// missing?"),
    ("htp://admin:ge 'Geheim77@HOST/s", "expected rtsp://"),
    ("http://HOST/v.cgi?loginuse=admin&loginpas=Geheim77", "nothing listens there"),
    ("http://HOST/cgi?cmd=Snap&usr=admin&pwd=Geheim77#1", "nothing listens there"),
    ("rtsp://HOST/user=admin_password=Geheim77_channel=1.sdp", "nothing listens there"),
]


def test_probe_of_any_source_shows_no_password(tmp_path: Path, closed_port: int) -> None:
    sources = [
        source.replace("HOST", f"127.0.0.1:{closed_port}").replace("Geheim77", f"Geheim{number}")
        for number, (source, _) in enumerate(PROBED, 100)
    ]
    said = magpie(tmp_path, *(["probe", source] for source in sources))
    for source, (_, says), text in zip(sources, PROBED, said, strict=True):
        assert text.startswith("magpie: source '") and text[-6:] in ("exit 2", "exit 3"), text
        assert says in text, f"{source}: {text}"
        assert "Geheim" not in text and "Traceback" not in text, f"{source}: {text}"


def test_no_usage_error_shows_a_password(tmp_path: Path) -> None:
    said = magpie(
        tmp_path,
        ["probe", "rtsp://admin:ge", "Geheim1@cam/s"],
        ["run", "--duration", "rtsp://admin:Geheim2#1@cam/s"],
        ["rtsp://admin:Geheim3/1@cam/s"],
        ["run", "--rtsp://admin:Geheim4@cam=1"],
        ["run", "test:", "--publish", "tcp://admin:ge Geheim5@127.0.0.1:1", "--catalog", "x"],
        ["weights", "pull", "aliked-n16", "--from", "http://admin:Geheim6#1@127.0.0.1:9/"],
    )
    for text in said:
        assert text.endswith("exit 2") and "Traceback" not in text, text
        assert "Geheim" not in "".join(text.split())  # the usage's frame breaks lines


def test_config_check_shows_no_password(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "catalog: shelf\ncameras:\n  a: {url: 'rtsp://admin:Geheim1#1@cam/s'}\n"
        "  b: {url: 'admin:ge Geheim2@cam/s'}\n  c: {url: 'htp://c/?pwd=Geheim3'}\n"
        "  d: {url: 'test:', detect_url: 'rtsp://admin:Geheim7#1@cam/s'}\n"
    )
    (tmp_path / "b.yaml").write_text(
        "cameras:\n  'rtsp://admin:ge Geheim4@cam': {url: 'test:'}\n"
        "  b: {url: 'test:', max_fps: 'x:Geheim5@cam'}\nrtsp://admin:Geheim6@cam: 3\n"
    )
    for text in magpie(tmp_path, ["config", "check", "a.yaml"], ["config", "check", "b.yaml"]):
        assert "mistakes" in text and text.endswith("exit 2")
        assert "Geheim" not in text


def test_no_traceback_shows_a_password(tmp_path: Path) -> None:
    """Of the main thread, of another one, and of what is only collected."""
    code = (
        "import threading\n"
        "from streamer.reporting import hide_secrets_in_tracebacks\n"
        "class Closed:\n"
        "    def __del__(self): raise OSError('1 rtsp://admin:Geheim77@cam')\n"
        "def fall(text): raise ValueError(text + ' rtsp://admin:Geheim77/1@cam')\n"
        "hide_secrets_in_tracebacks()\n"
        "Closed()\n"
        "thread = threading.Thread(target=fall, args=['2']); thread.start(); thread.join()\n"
        "fall('3')\n"
    )
    ended = python(tmp_path, code)
    assert ended.returncode == 1
    for number, error in enumerate(("OSError", "ValueError", "ValueError"), 1):
        assert f"{error}: {number} rtsp://***@cam" in ended.stderr
    assert "Geheim" not in ended.stderr


def test_a_worker_knows_the_secrets_of_the_options_that_it_is_handed(tmp_path: Path) -> None:
    """As in a run: the daemon pickles the options, another process reads them."""
    options = tmp_path / "options"
    options.write_bytes(pickle.dumps(SourceOptions(url="rtsp://admin:Geheim77%231@cam/s")))
    code = (
        "import pickle, sys; from streamer.redaction import redact\n"
        "pickle.load(open(sys.argv[1], 'rb')); print(redact('bad word Geheim77#1'))"
    )
    assert python(tmp_path, code, str(options)).stdout == "bad word ***\n"

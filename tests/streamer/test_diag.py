"""`magpie diag`: all that a report needs, in one private file, and no secret in any form."""

import base64
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import quote, quote_plus

from streamer.diagnosis import pack, read_known_secrets
from streamer.publishing.journal import Journal
from streamer.version import version
from tests.end_to_end.daemon_bench import running_daemon
from tests.fakes import wait_until, write_scripted_catalog

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {  # where it stands: the secret itself
    "camera": "Kanarie/1 äx",
    "mqtt": "Kanarie&2#y",
    "environment": "Kanarie?3=z",
    "file": "Kanarie+4 w",
    "webhook": "Kanarie5Kanarie",
}


def magpie(folder: Path, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from streamer.cli import main; main()", *words],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(folder / "state"),
            **more,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        found = {}
        for member in archive.getmembers():
            assert member.mode == 0o600 and (member.uid, member.uname) == (0, "")
            file = archive.extractfile(member)
            assert file is not None
            found[member.name.split("/")[1]] = file.read().decode()
    return found


def forms(secret: str) -> set[str]:
    """How a secret may stand in a log: as it is, encoded once and twice, as Python and JSON do."""
    once = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
    found = once | {quote(each, safe="") for each in once}
    return found | {repr(secret)[1:-1], ascii(secret)[1:-1], json.dumps(secret)[1:-1]}


def test_version_is_told(tmp_path: Path) -> None:
    done = magpie(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"magpie {version()}\n")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", version())


def test_no_secret_is_packed_in_any_form(tmp_path: Path) -> None:
    """1. A configuration with secrets in every place. 2. A log that quotes each of them in every
    form, beside a line of another kind. Result: none of them is in the file, and what is named only
    (`${X}`, `file:`) is still named."""
    (tmp_path / "key").write_text(SECRETS["file"] + "\n")
    camera = quote(SECRETS["camera"], safe="")
    config = {
        "publish": {"journal": str(tmp_path / "journal.db"), "endpoint": "tcp://127.0.0.1:9"},
        "catalog": "shelf",
        "cameras": {"door": {"url": f"rtsp://admin:{camera}@192.0.2.1/s"}},
        "sinks": {
            "mqtt": {
                "home": {"host": "h", "user": "u", "password": SECRETS["mqtt"]},
                "hall": {"host": "h", "user": "u", "password": "${MAGPIE_TEST_CANARY}"},
            },
            "webhook": {
                "shop": {"url": f"https://h.example/{SECRETS['webhook']}/in", "secret": "file:key"}
            },
        },
    }
    (tmp_path / "magpie.yaml").write_text(json.dumps(config))
    lines = [f"login {form} failed" for secret in SECRETS.values() for form in forms(secret)]
    basic = base64.b64encode(f"admin:{SECRETS['camera']}".encode()).decode()
    (tmp_path / "log").write_text(
        "\n".join([*lines, f"sent {basic}", "no Kanarie-9x", "camera door: 3 lost"])
    )
    Journal(tmp_path / "journal.db").close()
    kept = {"cameras": {"hall": {"options": {"url": "rtsp://u:Kanarie-9x@192.0.2.2/s"}}}}
    (tmp_path / "journal.db.state.json").write_text(json.dumps(kept))
    done = magpie(
        tmp_path, "diag", "--config", "magpie.yaml", "--log", "log", "--out", "d.tar.gz",
        MAGPIE_TEST_CANARY=SECRETS["environment"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "d.tar.gz").stat().st_mode & 0o777 == 0o600
    parts = unpacked(tmp_path / "d.tar.gz")
    assert len(parts["log.txt"].splitlines()) == len(lines) + 3
    assert "camera door: 3 lost" in parts["log.txt"]
    for text in (done.stdout, done.stderr, *parts.values()):
        assert "anarie" not in text and basic not in text, text
    shown = json.loads(parts["config.json"])
    assert shown["mistakes"] == []
    assert shown["config"]["cameras"]["door"]["url"] == "rtsp://***@192.0.2.1/s"
    assert shown["config"]["sinks"]["mqtt"]["hall"]["password"] == "${MAGPIE_TEST_CANARY}"
    assert shown["config"]["sinks"]["webhook"]["shop"] == {
        "url": "https://h.example/***", "secret": "file:key",
    }  # fmt: skip
    assert json.loads(parts["versions.json"])["magpie"] == version()
    assert json.loads(parts["machine.json"])["cores"] == os.cpu_count()
    assert json.loads(parts["journal.json"])["events"] == 0
    assert "no daemon answers" in parts["status.json"]


def test_running_daemon_is_told_with_its_workers(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf")
    config = {"catalog": str(catalog), "cameras": {"door": {"url": "test:?size=320x240&fps=25"}}}
    with running_daemon(tmp_path, config) as daemon:
        wait_until(lambda: "camera.door" in daemon.log.read_text(), "the camera is started")
        daemon.pid_of("camera.door")
        done = magpie(
            tmp_path, "diag", "--endpoint", daemon.endpoint, "--ask", daemon.ask_endpoint,
            "--log", str(daemon.log), "--out", "d.tar.gz",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    parts = unpacked(tmp_path / "d.tar.gz")
    assert json.loads(parts["status.json"])["workers"]["matcher.0"]
    names = [each["name"] for each in json.loads(parts["processes.json"])]
    assert "camera.door" in names and "matcher.0" in names
    assert "matcher.0" in parts["log.txt"]


def test_configuration_that_is_wrong_is_packed_with_its_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "magpie.yaml"
    file.write_text("cameras:\n  door: {url: 'rtsp://u:Kanarie9@h/', colour: red}\n")
    config, shown, wrong = read_known_secrets(file)
    assert config is None and "colour" in wrong and "anarie" not in f"{shown}{wrong}"


def test_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "d.tar.gz").write_text("mine")
    done = magpie(tmp_path, "diag", "--out", "d.tar.gz")
    assert done.returncode == 2 and "--out: is there already" in done.stderr
    assert (tmp_path / "d.tar.gz").read_text() == "mine"


def test_part_that_fails_is_told_in_its_place(tmp_path: Path) -> None:
    def fail() -> str:
        raise OSError(5, "rtsp://u:Kanarie8@h/ broke")

    pack(tmp_path / "d.tar.gz", {"a.json": fail, "b.txt": lambda: "whole"})
    parts = unpacked(tmp_path / "d.tar.gz")
    assert parts["b.txt"] == "whole"
    assert "OSError" in parts["a.json"] and "anarie" not in parts["a.json"]

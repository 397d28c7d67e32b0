"""magpie keys: made, listed without secrets, revoked; CURVE pairs that readers can use."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from streamer.web.keys import Keys
from tests.end_to_end.daemon_bench import magpie
from tests.streamer.publishing.rig import Wire, sighting, take


def refused(*arguments: str) -> str:
    command = [sys.executable, "-c", "from streamer.cli import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    return done.stderr


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    file = str(tmp_path / "keys")
    text = magpie(
        "keys", "add", "page", "--scope", "search", "--cameras", "door", "--file", file
    ).strip()
    entry = Keys(Path(file)).find(text)
    assert entry is not None and entry.cameras == ("door",) and set(entry.scopes) == {"search"}
    listed = magpie("keys", "list", "--file", file)
    assert "page" in listed and entry.id in listed and text not in listed
    assert "each key has its own name" in refused("keys", "add", "page", "--file", file)
    magpie("keys", "revoke", "page", "--file", file)
    assert Keys(Path(file)).find(text) is None
    assert "no such key or user" in refused("keys", "revoke", "page", "--file", file)


def test_a_user_has_a_password_and_a_role(tmp_path: Path) -> None:
    file, secret = str(tmp_path / "keys"), tmp_path / "password"
    secret.write_text("correct horse\n")
    magpie("keys", "user", "ann", "--role", "admin", "--password-file", str(secret), "--file", file)
    found = Keys(Path(file)).login("ann", "correct horse")
    assert found is not None and found.role == "admin"
    assert Keys(Path(file)).login("ann", "wrong horse") is None
    secret.write_text("short")
    again = ("keys", "user", "ann", "--password-file", str(secret), "--file", file)
    assert "8 characters" in refused(*again)


def test_curve_keys_admit_the_reader_that_they_were_made_for(
    tmp_path: Path, open_wire: Callable[..., Wire]
) -> None:
    folder = tmp_path / "curve"
    magpie("keys", "curve", str(folder), "--client", "reader")
    assert all(path.stat().st_mode & 0o77 == 0 for path in folder.rglob("*"))
    wire = open_wire(curve_keys=folder)
    wire.sink().send_sighting(sighting("a"))
    assert take(wire.subscriber(since=0, keys=folder / "for-reader"), 1)[0]["seq"] == 1
    assert "holds the daemon's keys already" in refused("keys", "curve", str(folder))

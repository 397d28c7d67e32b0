"""Secrets by name: from the environment, from files, written out; hidden from then on."""

from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from pipeline.errors import ConfigError
from streamer.redaction import redact
from streamer.secret_text import anchored, read_secret


def test_secret_comes_from_environment_file_or_the_text_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("Kanarie/datei\n")
    monkeypatch.setenv("MAGPIE_TEST_SECRET", "Kanarie/umwelt")
    monkeypatch.setenv("MAGPIE_TEST_FOLDER", str(tmp_path))
    for written, secret in (
        ("Kanarie/text", "Kanarie/text"),
        ("${MAGPIE_TEST_SECRET}", "Kanarie/umwelt"),
        ("user:${MAGPIE_TEST_SECRET}", "user:Kanarie/umwelt"),
        (f"file:{tmp_path}/key", "Kanarie/datei"),
        ("file:${MAGPIE_TEST_FOLDER}/key", "Kanarie/datei"),
    ):
        assert read_secret(SecretStr(written)) == secret
        assert "Kanarie" not in redact(f"sent {secret} and {quote(secret, safe='')}")


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("${MAGPIE_TEST_NOWHERE}", "environment variable MAGPIE_TEST_NOWHERE: a secret is to be"),
        ("file:FOLDER/none", "this user must be able to read it (No such file or directory)"),
        ("file:FOLDER/empty", "must hold 1 to 65536 bytes of text"),
        ("file:FOLDER/binary", "must be UTF-8 text"),
    ],
)
def test_secret_that_is_not_there_is_one_sentence(tmp_path: Path, written: str, says: str) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError) as told:
        read_secret(SecretStr(written.replace("FOLDER", str(tmp_path))))
    assert says in str(told.value)


def test_relative_file_counts_from_the_folder_of_the_configuration() -> None:
    base = Path("/etc/magpie")
    assert anchored("file:mqtt.password", base) == "file:/etc/magpie/mqtt.password"
    for written in ("file:/run/x", "file:~/x", "file:${CREDENTIALS_DIRECTORY}/x", "plain"):
        assert anchored(written, base) == written

"""A camera's URL may name its secrets; what they stand for is in no text."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from streamer.redaction import redact
from streamer.sources.base import SourceOptions, check_source
from streamer.sources.named_secrets import with_secrets


def test_variables_and_files_are_put_in_as_a_url_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAM_PASS", "Geheim#77@x/")
    (tmp_path / "user").write_text("kamera9\n")
    options = SourceOptions(url=f"rtsp://${{file:{tmp_path}/user}}:${{CAM_PASS}}@192.0.2.1/s1")
    found = with_secrets(options)
    assert found.url == "rtsp://kamera9:Geheim%2377%40x%2F@192.0.2.1/s1"
    check_source(found)
    assert "Geheim" not in options.url
    assert "Geheim" not in redact("cannot log in with Geheim#77@x/ or Geheim%2377%40x%2F")


def test_without_names_options_stay_as_they_are(tmp_path: Path) -> None:
    for url in ("rtsp://u:p$x@192.0.2.1/", "test:", str(tmp_path / "${NOT_SET}.mp4")):
        options = SourceOptions(url=url)
        assert with_secrets(options) is options


def test_what_is_named_and_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAM_NONE", raising=False)
    with pytest.raises(ConfigError, match=r"environment variable CAM_NONE: .* not set"):
        with_secrets(SourceOptions(url="rtsp://u:${CAM_NONE}@192.0.2.1/"))
    with pytest.raises(ConfigError, match="file of a secret"):
        with_secrets(SourceOptions(url="rtsp://u:${file:/nowhere/x}@192.0.2.1/"))

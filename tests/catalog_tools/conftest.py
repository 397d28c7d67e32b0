"""Runs `magpie catalog` as users do, on fake networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import catalog_tools.networks
from streamer.cli import main
from tests.fake_networks import FakeEmbedder, make_networks

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `magpie catalog …` and return exit code, stdout, stderr."""
    monkeypatch.setattr(
        catalog_tools.networks, "load_networks", lambda *_: make_networks(FakeEmbedder())
    )

    def run_magpie(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["magpie", "catalog", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run_magpie

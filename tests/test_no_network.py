"""Magpie makes no network request that its user did not name: look-ups are recorded and refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Python loads `sitecustomize` in every process of the job, spawned workers included.
GUARD = """
import os, socket
_look_up, _connect = socket.getaddrinfo, socket.socket.connect

def _refuse(what):
    with open(os.environ["MAGPIE_TEST_LOOKUPS"], "a") as log:
        log.write(f"{what}\\n")
    raise OSError(f"no network in this test: {what}")

def _is_local(host):
    return host in (None, "", "localhost", "::1", "::") or str(host).startswith(("127.", "0.0.0.0"))

def getaddrinfo(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    return _look_up(host, *args, **kwargs) if _is_local(name) else _refuse(f"look-up of {name}")

def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
        _refuse(f"connection to {address}")
    return _connect(self, address)

socket.getaddrinfo, socket.socket.connect = getaddrinfo, connect
"""


def run_without_network(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    guard = tmp_path / "guard"
    guard.mkdir(exist_ok=True)
    (guard / "sitecustomize.py").write_text(GUARD)
    environment = os.environ | {
        "PYTHONPATH": f"{guard}:{ROOT}",
        "MAGPIE_TEST_LOOKUPS": str(tmp_path / "lookups"),
        "MAGPIE_CACHE": str(tmp_path / "cache"),
    }
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300
    )


def lookups(tmp_path: Path) -> str:
    log = tmp_path / "lookups"
    return log.read_text() if log.exists() else ""


def test_the_guard_notices_a_look_up(tmp_path: Path) -> None:
    done = run_without_network(
        tmp_path, "-c", "import urllib.request as u; u.urlopen('http://magpie.invalid/')"
    )
    assert done.returncode != 0
    assert "magpie.invalid" in lookups(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["detector", "embedder", "lightglue-sift"])
def test_exporting_a_network_looks_nothing_up(tmp_path: Path, network: str) -> None:
    (weights,) = (ROOT / "weights").glob(f"magpie-{network}*.safetensors")
    out = tmp_path / "exported"
    done = run_without_network(
        tmp_path, "-m", "pipeline.engines.torch_export", str(weights), str(out)
    )
    assert done.returncode == 0, done.stderr
    assert any(out.rglob("*.xml")) or out.with_suffix(".xml").exists()
    assert lookups(tmp_path) == ""

"""Magpie makes no network request that its user did not name: look-ups are recorded and refused."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from catalog_tools.demo.video_file import write_clip
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack

ROOT = Path(__file__).resolve().parent.parent

# Python loads `sitecustomize` in every process of the job, spawned workers included.
GUARD = """
import os, socket, sys
_connect = socket.socket.connect

def _note(log, text):
    with open(os.path.join(os.environ["MAGPIE_TEST_NOTES"], log), "a") as file:
        file.write(text + "\\n")

def _refuse(what):
    _note("lookups", what)
    raise OSError(f"no network in this test: {what}")

def _is_local(host):
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    return name in ("", "localhost", "::1", "::") or name.startswith(("127.", "0.0.0.0"))

def _guarded(look_up):
    def guarded(host, *args, **kwargs):
        return look_up(host, *args, **kwargs) if _is_local(host) else _refuse(f"look-up of {host}")
    return guarded

def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
        _refuse(f"connection to {address}")
    return _connect(self, address)

for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
    setattr(socket, name, _guarded(getattr(socket, name)))
socket.socket.connect = connect
_note("processes", " ".join(sys.orig_argv))
"""


@dataclass(frozen=True)
class Offline:
    """Runs Python without a network; `cache` holds the networks that were made for this machine."""

    folder: Path
    cache: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        guard = self.folder / "guard"
        guard.mkdir(exist_ok=True)
        (guard / "sitecustomize.py").write_text(GUARD)
        environment = os.environ | {
            "PYTHONPATH": f"{guard}:{ROOT}",
            "MAGPIE_TEST_NOTES": str(self.folder),
            "MAGPIE_CACHE": str(self.cache),
            "YOLO_CONFIG_DIR": str(self.folder / "ultralytics"),
        }
        return subprocess.run(
            [sys.executable, *command],
            env=environment, cwd=self.folder, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    def magpie(self, *words: str | Path, code: str = "main()") -> subprocess.CompletedProcess[str]:
        """Run the command line, or code that has it as `main`."""
        return self.run("-c", f"from streamer.cli import main\n{code}", *map(str, words))

    def lookups(self) -> str:
        log = self.folder / "lookups"
        return log.read_text() if log.exists() else ""

    def processes(self) -> list[str]:
        """The command lines of the processes that ran under the guard."""
        return (self.folder / "processes").read_text().splitlines()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def offline(tmp_path: Path, cache: Path) -> Offline:
    return Offline(tmp_path, cache)


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of one source, which passes for a catalog's pictures as well."""
    folder = tmp_path_factory.mktemp("pool")
    (folder / "printed").mkdir()
    for seed in range(6):
        picture = render_pack(DEMO_SEED_START + 960 + seed, (160, 220))
        cv2.imwrite(str(folder / "printed" / f"{seed}.png"), picture)
    return folder


def test_the_guard_notices_a_look_up_in_a_spawned_process(offline: Offline) -> None:
    (offline.folder / "look_up.py").write_text(
        "import multiprocessing, urllib.request\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    url = 'http://magpie.invalid/'\n"
        "    child = context.Process(target=urllib.request.urlopen, args=(url,))\n"
        "    child.start(); child.join(); raise SystemExit(child.exitcode)\n"
    )
    assert offline.run("look_up.py").returncode == 1
    assert "magpie.invalid" in offline.lookups()


CONVERT = """
import sys
from pathlib import Path
from pipeline.engines.engine_cache import converted_network
converted_network(Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "network", ["detector-n", "embedder-r18", "embedder-lite0", "lightglue-sift"]
)
def test_exporting_a_network_looks_nothing_up(offline: Offline, network: str) -> None:
    """It is made in the cache that the run and the demo below find it in, so that each is traced
    once; anew where another test has made it already: its look-ups are to be seen here."""
    engines = offline.cache / "engines"
    for made in engines.glob(f"magpie-{network}-*/"):
        shutil.rmtree(made)
    weights = ROOT / "weights" / f"magpie-{network}.safetensors"
    done = offline.run("-c", CONVERT, str(weights))
    assert done.returncode == 0, done.stderr
    assert [file.name for file in engines.glob(f"magpie-{network}-*/*.xml")] == ["network.xml"]
    assert "-m pipeline.engines.torch_export" in offline.processes()[-1]
    assert offline.lookups() == ""


# The command line as it is, but for what only costs time: the checks' sizes, the clip's length, and
# the libraries' import, which all three trainings share.
TRAIN_ALL = """
import functools, sys
import streamer.cli.training as training
training.check_options = functools.partial(training.check_options, check_count=2)
words = sys.argv[1:]
for network in ("embedder", "detector", "matcher"):
    sys.argv[1:] = ["train", network, *words]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""
SHORT_DEMO = """
import catalog_tools.demo.run
catalog_tools.demo.run.FAST_CLIP_S = 2.4
main()
"""


@pytest.mark.slow
def test_training_looks_nothing_up(offline: Offline, packs: Path) -> None:
    out = offline.folder / "trained"
    done = offline.magpie(
        "--pool", packs, "--out", out, "--minutes", "0.001", "--batch", "2", "--threads", "1",
        code=TRAIN_ALL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(out.glob("*.safetensors"))) == 3
    assert offline.lookups() == ""


@pytest.mark.slow
def test_a_run_on_a_clip_looks_nothing_up(offline: Offline, packs: Path) -> None:
    """1. Build a catalog, 2. watch a clip; networks that no test has made yet are made on the way.
    Result: all of the daemon's processes were guarded."""
    folder = offline.folder
    clip, summary = folder / "clip.mp4", folder / "summary.json"
    write_clip(
        clip, [cv2.resize(render_pack(DEMO_SEED_START + 960), (320, 240))] * 5, (320, 240), 5
    )
    built = offline.magpie("catalog", "build", packs / "printed", "--out", folder / "shelf")
    assert built.returncode == 0, built.stderr
    before = len(offline.processes())
    done = offline.magpie(
        "run", clip, "--catalog", folder / "shelf", "--publish", "tcp://127.0.0.1:*",
        "--journal", folder / "journal.db", "--summary-json", summary,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(summary.read_text())["cameras"]["clip"]["counters"]["processed"] == 5
    assert len(offline.processes()) - before >= 3  # daemon, camera, matcher
    assert offline.lookups() == ""


@pytest.mark.slow
def test_the_demo_looks_nothing_up(offline: Offline) -> None:
    """Whether its targets hold is for an idle machine to say; it must run to its verdict."""
    done = offline.magpie("demo", "--fast", "--out", offline.folder / "demo", code=SHORT_DEMO)
    assert done.returncode in (0, 1), done.stderr
    assert json.loads((offline.folder / "demo" / "report.json").read_text())["targets"]
    assert offline.lookups() == ""

"""The service's unit, the image and the compose file: what they name is there and understood."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
INSTALLED = "/opt/magpie"
DOCUMENT = (ROOT / "docs" / "service.md").read_text()


class _Unit(configparser.RawConfigParser):
    """A unit file: keys keep their case, and a later one does not replace an earlier one here."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def unit(path: Path) -> configparser.RawConfigParser:
    parser = _Unit(strict=False, interpolation=None)
    parser.read(path)
    return parser


def dockerfile() -> list[str]:
    """The instructions of the Dockerfile, each on one line."""
    lines = [
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.strip()[:1] != "#"
    ]
    return [line for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines() if line.strip()]


def run_here(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command of the installed paths, with this checkout in their place."""
    words = [word.replace(INSTALLED, str(ROOT)) for word in command]
    assert os.access(words[0], os.X_OK), f"{words[0]} cannot be run"
    return subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def installed(tmp_path: Path) -> None:
    if not (ROOT / ".venv" / "bin" / "magpie").exists():
        pytest.skip("no .venv in the checkout; run: make setup")


def assert_runs_its_configuration(command: list[str], folder: Path) -> None:
    """The command is one that Magpie understands: with a file that is not there, it says so."""
    assert command[-1] == "/etc/magpie/magpie.yaml"
    done = run_here([*command[:-1], str(folder / "none.yaml")], folder)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"magpie: config '{folder}/none.yaml': no such file")


@pytest.mark.usefixtures("installed")
def test_unit_starts_a_command_that_exists_and_understands_it(tmp_path: Path) -> None:
    service = unit(PACKAGING / "magpie.service")["Service"]
    assert_runs_its_configuration(shlex.split(service["ExecStart"]), tmp_path)
    assert service["RestartPreventExitStatus"] == "2"


@pytest.mark.usefixtures("installed")
def test_image_starts_a_command_that_exists_and_understands_it(tmp_path: Path) -> None:
    words = {
        line.split()[0]: line.split(maxsplit=1)[1]
        for line in dockerfile()
        if line.startswith(("ENTRYPOINT", "CMD", "HEALTHCHECK"))
    }
    entry, command = yaml.safe_load(words["ENTRYPOINT"]), yaml.safe_load(words["CMD"])
    assert_runs_its_configuration([*entry, *command], tmp_path)
    health = yaml.safe_load(words["HEALTHCHECK"].partition("CMD")[2])
    done = run_here([*health, "--endpoint", "tcp://127.0.0.1:9"], tmp_path)
    assert done.returncode != 0 and "a daemon must answer" in done.stderr


def test_what_the_image_copies_is_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for line in dockerfile():
        if line.startswith("COPY") and "--from" not in line:
            *sources, _ = line.split()[1:]
            for source in sources:
                assert (ROOT / source).exists(), source
                assert source not in ignored
    assert not {"weights", "streamer", "pipeline", "catalog_tools", "packaging"} & set(ignored)


def test_image_is_not_root_and_writes_only_where_it_says() -> None:
    lines = dockerfile()
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
    assert (
        lines.index("USER 10001:10001") > [n for n, line in enumerate(lines) if "FROM" in line][1]
    )
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["shm_size"] == "1gb" and service["shm_size"] in DOCUMENT
        places = [each.split(":")[0] for each in service["tmpfs"]]
        places += [each.split(":")[1] for each in service["volumes"]]
        assert {"/tmp", "/run/magpie", "/var/lib/magpie", "/var/cache/magpie"} <= set(places)
        assert service["build"]["args"]["DEVICE"] == service["image"].split(":")[1]
        assert all(each.startswith("127.0.0.1:") for each in service["ports"])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_image_gets_what_the_project_needs(device: str) -> None:
    command = [sys.executable, str(PACKAGING / "requirements.py"), device]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    left_out = set(named) - set(done.stdout.splitlines())
    assert all(each.startswith("faiss-") for each in left_out)
    assert ("faiss-cpu>=1.12" in done.stdout.splitlines()) is (device == "cpu")
    other = subprocess.run([*command[:2], "tpu"], capture_output=True, text=True)
    assert other.returncode == 1 and "DEVICE must be cpu or cuda" in other.stderr


def test_image_is_hadolint_clean() -> None:
    command = ROOT / ".venv" / "bin" / "hadolint"
    if not command.exists():
        pytest.skip("hadolint is not in .venv; run: make setup")
    done = subprocess.run([command, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def systemd_analyze() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    command = shutil.which("systemd-analyze")
    if command is None:
        pytest.skip("systemd-analyze is not on this machine")

    def analyze(*words: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [command, *words], capture_output=True, text=True, timeout=60,
            env={**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_EMOJI": "0"},
        )  # fmt: skip
        return done

    return analyze


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("drop_in", [None, "devices.conf"])
def test_systemd_finds_nothing_wrong_with_the_unit(
    tmp_path: Path, systemd_analyze: Callable[..., Any], drop_in: str | None
) -> None:
    file = tmp_path / "magpie.service"
    file.write_text((PACKAGING / "magpie.service").read_text().replace(INSTALLED, str(ROOT)))
    if drop_in:
        (tmp_path / "magpie.service.d").mkdir()
        shutil.copy(PACKAGING / drop_in, tmp_path / "magpie.service.d")
    done = systemd_analyze("verify", "--man=no", str(file))
    assert (done.returncode, done.stderr) == (0, "")


def test_document_tells_the_units_exposure(systemd_analyze: Callable[..., Any]) -> None:
    done = systemd_analyze(
        "security", "--offline=true", "--threshold=20", str(PACKAGING / "magpie.service")
    )
    if "Unknown option" in done.stderr or "unrecognized option" in done.stderr:
        pytest.skip("this systemd judges no unit that is not loaded")
    assert done.returncode == 0, done.stdout
    exposure = re.search(r"exposure level for magpie.service: ([\d.]+) OK", done.stdout)
    assert exposure is not None
    assert f"exposure {exposure[1]} of 10" in DOCUMENT, exposure[0]


def test_document_names_the_paths_of_the_unit_and_the_image() -> None:
    text = "".join(path.read_text() for path in (PACKAGING / "magpie.service", ROOT / "Dockerfile"))
    for place in ("/etc/magpie/magpie.yaml", "/var/lib/magpie", "/var/cache/magpie", "/run/magpie"):
        assert place in DOCUMENT and place in text
    for file in re.findall(r"packaging/[\w.]+", DOCUMENT):
        assert (ROOT / file).is_file(), file

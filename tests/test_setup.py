"""`make setup` in made-up machines: what it refuses, in which words, before anything is fetched."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_TOOLS = "bash cat cp cut dirname grep mkdir rm sha256sum tail touch tr".split()

# A Python that has what the folder `has` says, and whose virtual environments are made of stubs.
PYTHON = """
case "$*" in
*"sys.exit(sys.version_info"*) [ ! -e "$HAS/old-python" ] ;;
*"sys.version_info[:2]"*) echo 3.11 ;;
*"import venv, ensurepip"*) [ -e "$HAS/venv" ] ;;
"-m venv .venv")
  mkdir -p .venv/bin
  cp "$HAS/venv-python" .venv/bin/python
  cp "$HAS/pip" .venv/bin/pip ;;
*) echo "python: not expected: $*" >&2; exit 9 ;;
esac
"""
# OpenCV's two packages write the same files: here `cv2` holds who wrote them last.
VENV_PYTHON = """
case "$*" in
"-c ") ;;
*"import cv2"*)
  [ -e .venv/cv2 ] || { echo "ModuleNotFoundError: No module named 'cv2'" >&2; exit 1; }
  grep -q headless .venv/cv2 && [ ! -e "$HAS/no-libglib" ] || [ -e "$HAS/libGL" ] ||
    { echo "ImportError: libGL.so.1: cannot open shared object file" >&2; exit 1; } ;;
*'m.version("opencv-python")'*) echo 5.0.0.93 ;;
*) echo "venv python: not expected: $*" >&2; exit 9 ;;
esac
"""
PIP = """
echo "$*" >>"$HAS/pip-calls"
[ ! -e "$HAS/no-network" ] || { echo "ERROR: no matching distribution" >&2; exit 1; }
there() { [ -e ".venv/has-$1" ]; }
put() { there "$1" || { touch ".venv/has-$1"; echo "$1" >.venv/cv2; }; }
case "$*" in
*"-e .[dev]") put opencv-python; echo "Successfully installed magpie-0.1.0" ;;
"uninstall "*)
  for name in opencv-python opencv-python-headless; do
    case " $* " in *" $name "*) ! there "$name" || rm -f ".venv/has-$name" .venv/cv2 ;; esac
  done ;;
"install "*"opencv-python-headless==5.0.0.93") put opencv-python-headless ;;
*) echo "pip: not expected: $*" >&2; exit 9 ;;
esac
"""
DF = "echo Avail; echo '  40G'"
ID = "echo 1000"
APT_GET = 'echo "$*" >>"$HAS/apt-calls"; [ -e "$HAS/packages" ] && touch "$HAS/venv"'


@dataclass(frozen=True)
class Machine:
    """A checkout and a PATH of stand-ins; `has` holds what the machine has, as empty files."""

    checkout: Path
    bin: Path
    has: Path

    def stub(self, name: str, body: str, folder: Path | None = None) -> None:
        path = (folder or self.bin) / name
        path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
        path.chmod(0o755)

    def setup(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.checkout / "scripts" / "setup.sh")],
            env={"PATH": str(self.bin), "HAS": str(self.has)},
            executable=str(self.bin / "bash"), capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def calls(self, of: str) -> list[str]:
        path = self.has / f"{of}-calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One that lacks nothing but root."""
    made = Machine(tmp_path / "magpie", tmp_path / "bin", tmp_path / "has")
    for folder in (made.checkout / "scripts", made.bin, made.has):
        folder.mkdir(parents=True)
    for name in ("scripts/setup.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, made.checkout / name)
    for name in REAL_TOOLS:
        (made.bin / name).symlink_to(str(shutil.which(name)))
    for name, body in (("python3", PYTHON), ("df", DF), ("id", ID), ("apt-get", APT_GET)):
        made.stub(name, body)
    made.stub("venv-python", VENV_PYTHON, made.has)
    made.stub("pip", PIP, made.has)
    for name in ("venv", "libGL"):
        (made.has / name).touch()
    return made


def assert_refused(machine: Machine, sentence: str) -> None:
    done = machine.setup()
    assert done.returncode == 2
    assert done.stderr == f"setup: {sentence}\n"
    assert machine.calls("pip") == []  # nothing was fetched


def test_a_machine_with_all_of_it_is_set_up_once(machine: Machine) -> None:
    done = machine.setup()
    assert (done.returncode, done.stderr) == (0, "")
    assert "setup: done in" in done.stdout
    (call,) = machine.calls("pip")
    assert "-c constraints.txt -e .[dev]" in call
    again = machine.setup()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert machine.calls("pip") == [call] and machine.calls("apt") == []


def test_an_old_python_is_refused(machine: Machine) -> None:
    (machine.has / "old-python").touch()
    assert_refused(
        machine,
        "python: 3.11 or newer is needed, got none; "
        "run: sudo apt-get install python3.11 python3.11-venv",
    )


def test_a_missing_venv_module_is_refused_without_root(machine: Machine) -> None:
    (machine.has / "venv").unlink()
    assert_refused(
        machine, "python3.11: its venv module is missing; run: sudo apt-get install python3.11-venv"
    )
    assert machine.calls("apt") == []


def test_root_gets_the_venv_module_by_itself_or_hears_how(machine: Machine) -> None:
    (machine.has / "venv").unlink()
    machine.stub("id", "echo 0")
    assert machine.setup().returncode == 2  # there is no such package
    assert machine.calls("apt")[-1] == "update -qq"
    (machine.has / "packages").touch()
    assert machine.setup().returncode == 0
    assert machine.calls("apt")[-1] == "install -y -qq python3.11-venv"


def test_a_full_disk_is_refused(machine: Machine) -> None:
    machine.stub("df", DF.replace("40G", "11G"))
    assert_refused(
        machine,
        "disk: 12 GB free are needed (PyTorch brings CUDA), got 11 GB; free some, or move the "
        f"checkout to a larger disk: mv '{machine.checkout}' /larger/disk/",
    )


def test_without_libgl_the_headless_opencv_takes_its_place(machine: Machine) -> None:
    """1. Set up. 2. Set up again after pyproject.toml has changed, which brings opencv-python back.
    Result: only the headless one of the same version is there, both times."""
    (machine.has / "libGL").unlink()
    for _ in range(2):
        done = machine.setup()
        assert (done.returncode, done.stderr) == (0, "")
        assert "no libGL on this machine" in done.stdout
        left = {path.name for path in (machine.checkout / ".venv").glob("has-*")}
        assert left == {"has-opencv-python-headless"}
        assert (machine.checkout / ".venv" / "cv2").read_text() == "opencv-python-headless\n"
        with (machine.checkout / "pyproject.toml").open("a") as file:
            file.write("# changed\n")


@pytest.mark.parametrize(
    ("lacks", "sentence"),
    [
        (
            "no-libglib",
            "cv2: it must import, got 'ImportError: libGL.so.1: cannot open shared object file'; "
            "run: sudo apt-get install libgl1 libglib2.0-0",
        ),
        (
            "no-network",
            "packages: they must install, got pip's error above; once its cause is gone, "
            "run: make setup",
        ),
    ],
)
def test_what_fails_after_the_start_ends_in_one_sentence(
    machine: Machine, lacks: str, sentence: str
) -> None:
    (machine.has / "libGL").unlink()
    (machine.has / lacks).touch()
    done = machine.setup()
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"setup: {sentence}"
    assert not list((machine.checkout / ".venv").glob("setup-*"))  # the next one tries again

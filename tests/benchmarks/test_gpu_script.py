"""The script for CUDA machines goes on after a failure, and fails at its end if any step did."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.sh"


def run(*arguments: str, python: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": python, "DEVICE": "cpu"}
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_every_step_is_tried_and_told_whatever_becomes_of_the_others(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    done = run(str(tmp_path / "out"), str(wheels), python="/bin/false")
    assert done.returncode == 1
    table = [line.split()[:2] for line in done.stdout.splitlines() if "failed(1)" in line]
    steps = ["wheels", "facts", "tests", "material", "stages", "throughput", "density"]
    assert table == [[step, "failed(1)"] for step in steps]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["gpu.log"]
    log = (tmp_path / "out" / "gpu.log").read_text()
    assert all(f"===== {step}: at most" in log for step in steps)


def test_steps_that_end_well_are_ok(tmp_path: Path) -> None:
    done = run(str(tmp_path / "out"), python="/bin/true")
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout and done.stdout.count(" ok ") == 6


def test_without_a_folder_for_the_results_it_says_how_it_is_called() -> None:
    done = run(python="/bin/true")
    assert done.returncode == 2 and "benchmarks/gpu.sh OUT_DIR [WHEELS_DIR]" in done.stderr

"""Prints what an image needs of pyproject.toml, one requirement a line: requirements.py cpu | cuda.

For a CPU, faiss-cpu takes the place of faiss-gpu, which brings 1 GB of CUDA libraries along.
"""

import sys
import tomllib
from pathlib import Path

DEVICES = ("cpu", "cuda")


def requirements(device: str, project: Path) -> list[str]:
    """Return the requirements of an image for `device`."""
    named: list[str] = tomllib.loads(project.read_text())["project"]["dependencies"]
    if device == "cuda":
        return named
    return [each for each in named if not each.startswith("faiss-")] + ["faiss-cpu>=1.12"]


if __name__ == "__main__":
    if sys.argv[1:] not in [[device] for device in DEVICES]:
        sys.exit(f"requirements: DEVICE must be {' or '.join(DEVICES)}, got {sys.argv[1:]}")
    print(
        *requirements(sys.argv[1], Path(__file__).resolve().parent.parent / "pyproject.toml"),
        sep="\n",
    )

"""What all tests share: where the real data lies, and when a missing tool is a failure."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import pipeline.offline  # noqa: F401  (before any test imports a heavy library)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures (its README.md says which); skips where it is absent."""
    path = Path(os.environ.get("MAGPIE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (path / "README.md").is_file():
        pytest.skip(f"real data: no folder {path.name}; set MAGPIE_SHARED_DATA to where it lies")
    return path


@pytest.fixture(scope="session")
def need_tool() -> Callable[[bool, str], None]:
    """Skip when a tool is missing, or fail where the project should have installed it (CI)."""

    def need(is_there: bool, what: str) -> None:
        if is_there:
            return
        reason = f"{what} is missing; run: bash scripts/install_test_tools.sh"
        if os.environ.get("MAGPIE_REQUIRE_TEST_TOOLS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    return need

"""Keeps libraries quiet and off the network; imported before any heavy library.

Magpie makes no network request that its user did not name. `import ultralytics` resolves hosts,
writes settings and installs packages unless it is told not to before it is imported, and the
other libraries read their own variables at import as well.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

_FIXED = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "ULTRALYTICS_SAFE_LOAD": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "OPENCV_LOG_LEVEL": "ERROR",
}

# Read when a process starts, so they take effect in the children; a user's own values stay.
# glibc keeps freed memory for each thread that ever used some. OpenBLAS' threads spin after each
# product of numpy and take the cores from the networks: LightGlue 62 ms a pair instead of 35.
_THREADS = {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}


def set_offline_environment(run_dir: Path | None = None) -> None:
    """Set the variables that keep every later import off the network, in this process and its
    children.

    run_dir: where ultralytics may write its settings; a per-user temporary folder by default.
    """
    for name, value in _FIXED.items():
        os.environ[name] = value
    for name, value in _THREADS.items():
        os.environ.setdefault(name, value)
    # OpenVINO's converter reports to its maker unless this package is missing; it has no variable.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    # Only ultralytics needs the folder, and it looks for another where this one is refused: a
    # machine without a writable temporary folder must be able to do all the rest.
    with contextlib.suppress(OSError):
        base = run_dir or Path(tempfile.gettempdir()) / f"magpie-{os.getuid()}"
        config_dir = base / "ultralytics"
        os.environ.setdefault("YOLO_CONFIG_DIR", str(config_dir))
        config_dir.mkdir(parents=True, exist_ok=True, mode=0o700)


set_offline_environment()

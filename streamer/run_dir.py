"""The folder in shared memory that a running daemon owns, and what dead ones left behind.

/dev/shm/magpie-<pid>-<start>/, 0700, where start is when the process began, so that a later
process with the same number is not taken for it.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from streamer.errors import RingSpaceError

_NAME = re.compile(r"magpie-(?P<pid>\d+)-(?P<start>\d+)")
_START_FIELD = 19  # of /proc/<pid>/stat, counted behind the closing bracket of the name


def shared_memory() -> Path:
    """Return the folder in memory that all processes see; the temporary one where there is none."""
    shm = Path("/dev/shm")
    return shm if shm.is_dir() else Path(tempfile.gettempdir())


def create_run_dir(base: Path | None = None) -> Path:
    """Create this process's run folder (0700) and return it; `base` is for tests."""
    run_dir = (base or shared_memory()) / f"magpie-{os.getpid()}-{_start_of(os.getpid())}"
    run_dir.mkdir(mode=0o700, exist_ok=True)
    return run_dir


def remove_run_dir(run_dir: Path) -> None:
    """Remove a run folder and all in it; nothing happens when it is gone."""
    shutil.rmtree(run_dir, ignore_errors=True)


def reclaim_dead_runs(base: Path | None = None) -> list[Path]:
    """Remove what daemons that died without cleaning up left behind; returns those folders.

    A folder goes when its process is gone (or its number belongs to a younger process) and it is
    this user's own.
    """
    reclaimed = []
    for folder in sorted((base or shared_memory()).glob("magpie-*")):
        named = _NAME.fullmatch(folder.name)
        if named is None or folder.is_symlink():
            continue
        with contextlib.suppress(FileNotFoundError):
            is_alive = _start_of(int(named["pid"])) == int(named["start"])
            if not is_alive and folder.stat().st_uid == os.getuid():
                remove_run_dir(folder)
                reclaimed.append(folder)
    return reclaimed


def check_space(folder: Path, where: str, needed_bytes: int) -> None:
    """Raise RingSpaceError when the file system of `folder` has no `needed_bytes` left."""
    status = os.statvfs(folder)
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < needed_bytes:
        raise space_error(folder, where, needed_bytes, free_bytes)


def space_error(folder: Path, where: str, needed_bytes: int, free_bytes: int) -> RingSpaceError:
    """Return the error that names the bytes needed, the bytes free and the way out."""
    return RingSpaceError(
        f"{where}: the frame ring needs {needed_bytes} bytes in {folder.parent}, got "
        f"{free_bytes} free; enlarge it (docker: --shm-size, "
        f"else mount -o remount,size=1G {folder.parent})"
    )


def _start_of(pid: int) -> int | None:
    """Return when a process began, in the kernel's ticks; None when there is no such process."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, *fields = stat[stat.rindex(")") + 2 :].split()
        return None if state in "ZX" else int(fields[_START_FIELD - 1])
    import psutil

    try:
        return int(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None

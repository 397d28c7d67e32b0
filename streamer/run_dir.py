"""The folder in shared memory that a running daemon owns, and what dead ones left behind.

/dev/shm/magpie-<pid>-<start>/, 0700, where start is when the process began, so that a later
process with the same number is not taken for it.
"""

import contextlib
import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import WorkerError
from pipeline.writable import make_ready
from streamer.errors import RingSpaceError

_NAME = re.compile(r"magpie-(?P<pid>\d+)-(?P<start>\d+)")
MAX_SOCKET_PATH_BYTES = 107  # what Linux grants a socket's path
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)
_WHERE = "run folder in shared memory"
_REMEDY = "make it writable (docker: --tmpfs /dev/shm, --shm-size; else mount -o remount,rw)"
_START_FIELD = 19  # of /proc/<pid>/stat, counted behind the closing bracket of the name


def shared_memory() -> Path:
    """Return the folder in memory that all processes see; the temporary one where there is none."""
    shm = Path("/dev/shm")  # noqa: S108  (a folder of our own in it, 0700)
    if shm.is_dir():
        return shm
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        rule = "neither /dev/shm nor a temporary folder can be written"
        raise WorkerError.at(_WHERE, rule, remedy="mount one, or name one in TMPDIR") from error


def create_run_dir(base: Path | None = None) -> Path:
    """Create this process's run folder (0700) and return it; `base` is for tests.

    Raises WorkerError when shared memory cannot be written.
    """
    run_dir = (base or shared_memory()) / f"magpie-{os.getpid()}-{_start_of(os.getpid())}"
    try:
        make_ready(run_dir, _WHERE, _REMEDY, WorkerError, mode=0o700)
    except WorkerError:
        remove_run_dir(run_dir)
        raise
    return run_dir


def create_shared_file(path: Path, size_bytes: int, where: str, head: bytes = b"") -> None:
    """Make a file of zeros in the run folder, `head` at its beginning; nobody sees half of it.

    Its room is taken now: a page that shared memory lacks kills whoever touches it first. Raises
    RingSpaceError when there is no room, WorkerError when the folder cannot be written.
    """
    unfinished = path.with_suffix(".new")
    try:
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, size_bytes)
            os.ftruncate(fd, size_bytes)
            os.pwrite(fd, head, 0)
        finally:
            os.close(fd)
        unfinished.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        if error.errno in _FULL:
            raise space_error(path.parent, where, size_bytes, _free_bytes(path.parent)) from None
        rule = f"its files in shared memory cannot be written ({error.strerror})"
        raise WorkerError.at(where, rule, str(path), _REMEDY) from error


def socket_path(run_dir: Path, name: str) -> Path:
    """Return where a socket lies in the run folder; WorkerError when its path is too long."""
    path = run_dir / name
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        rule = f"a socket's path may have {MAX_SOCKET_PATH_BYTES} bytes"
        raise WorkerError.at("run folder", rule, str(path), "name a shorter folder in TMPDIR")
    return path


@contextlib.contextmanager
def vanishing_told(run_dir: Path) -> Iterator[None]:
    """Say that the run folder is gone when an error in this context comes from that."""
    try:
        yield
    except OSError as error:
        if run_dir.is_dir():
            raise
        rule = "must stay while the daemon runs; something has removed it"
        raise WorkerError.at(
            _WHERE, rule, str(run_dir), "start again; keep cleaners of temporary files off it"
        ) from error


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
        with contextlib.suppress(FileNotFoundError, PermissionError):
            is_alive = _start_of(int(named["pid"])) == int(named["start"])
            if not is_alive and folder.stat().st_uid == os.getuid():
                remove_run_dir(folder)
                reclaimed.append(folder)
    return reclaimed


def check_space(folder: Path, where: str, needed_bytes: int) -> None:
    """Raise RingSpaceError when the file system of `folder` has no `needed_bytes` left."""
    free_bytes = _free_bytes(folder)
    if free_bytes < needed_bytes:
        raise space_error(folder, where, needed_bytes, free_bytes)


def _free_bytes(folder: Path) -> int:
    try:
        status = os.statvfs(folder)
    except FileNotFoundError:
        return 0
    return status.f_bavail * status.f_frsize


def space_error(folder: Path, where: str, needed_bytes: int, free_bytes: int) -> RingSpaceError:
    """Return the error that names the bytes needed, the bytes free and the way out."""
    return RingSpaceError(
        f"{where}: needs {needed_bytes} bytes of shared memory in {folder.parent}, got "
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

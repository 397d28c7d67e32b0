"""Makes folders ready to be written, and says in one sentence why one cannot be. Light.

Whether a folder can be written is found out by doing what will be done there: permissions alone
tell nothing of a disk that is full, mounted read-only or out of inodes.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import ConfigError, MagpieError

_PROBE_BYTES = 4096
_REFUSALS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
    errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG,
)  # fmt: skip


def make_ready(
    folder: Path,
    where: str,
    remedy: str,
    error_class: type[MagpieError] = ConfigError,
    mode: int = 0o777,
) -> None:
    """Make a folder with all above it, and see that a file in it takes bytes.

    where, remedy: the beginning and the end of the sentence that `error_class` is raised with.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
        with tempfile.TemporaryFile(prefix=".magpie-", dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(
                file.fileno()
            )  # a network's or a lazy file system says only now that it is full
    except (OSError, ValueError) as error:
        raise _refused(folder, where, remedy, error_class, error) from error


def make_file_ready(
    path: Path, where: str, remedy: str, error_class: type[MagpieError] = ConfigError
) -> None:
    """See that a file can be written: one that is there is opened, for another its folder is made.

    A device or a pipe (/dev/null) is left as it is.
    """
    try:
        if path.exists() and (path.is_file() or path.is_dir()):
            path.open("ab").close()
            return
        if path.exists():
            return
    except (OSError, ValueError) as error:
        rule = f"must be a file that this user can write ({_cause(error)})"
        raise error_class.at(where, rule, str(path), remedy) from error
    make_ready(path.parent, where, remedy, error_class)


@contextlib.contextmanager
def writing(
    place: Path, where: str, remedy: str, error_class: type[MagpieError] = MagpieError
) -> Iterator[None]:
    """Turn the system's refusal to write into the one sentence, while in this context."""
    try:
        yield
    except OSError as error:
        rule = f"could not be written ({_cause(error)})"
        raise error_class.at(where, rule, error.filename or str(place), remedy) from error


def expand_home(path: Path | str, where: str) -> Path:
    """Return the path with its `~` replaced; ConfigError when that user has no home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        rule = "the user whose home folder it names has none"
        raise ConfigError.at(where, rule, str(path), "give the whole path") from error


def user_folder(variable: str, default: str, remedy: str) -> Path:
    """Return the folder that an XDG variable names, or the default (`~/.cache`) without one.

    A relative path there counts as none, as its standard says. ConfigError without a home.
    """
    named = os.environ.get(variable, "")
    if named.startswith("/"):
        return Path(named)
    try:
        return Path(default).expanduser()
    except RuntimeError as error:
        raise ConfigError.at(variable, "this user has no home folder", remedy=remedy) from error


def as_refusal(error: OSError) -> MagpieError | None:
    """Return the sentence for a file or disk that the system refuses; None for other trouble."""
    if error.errno not in _REFUSALS:
        return None
    where = str(error.filename) if error.filename else "disk"
    rule = f"cannot be used ({_cause(error)})"
    return MagpieError.at(where, rule, remedy="free it, or choose another place")


def _refused(
    folder: Path, where: str, remedy: str, error_class: type[MagpieError], error: Exception
) -> MagpieError:
    rule = f"must be a folder that this user can write ({_cause(error)})"
    return error_class.at(where, rule, str(folder), remedy)


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

"""FFmpeg's errors and log lines, turned into Magpie's: a typed cause, and never a secret."""

import errno
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import av
import av.error
import av.logging

from pipeline.errors import SourceError
from streamer.errors import (
    AuthenticationError,
    CodecError,
    EndedError,
    NotFoundError,
    RefusedError,
    StalledError,
    UnreachableError,
)
from streamer.redaction import redact
from streamer.sources.statuses import status_error

_SAY_EVERY_S = 1.0
_RTSP_STATUS = re.compile(r"\bfailed: (\d{3})\b")  # "method SETUP failed: 461 (…)"
_STATUS_OF = (
    (av.error.HTTPBadRequestError, 400),
    (av.error.HTTPUnauthorizedError, 401),
    (av.error.HTTPForbiddenError, 403),
    (av.error.HTTPNotFoundError, 404),
    (av.error.HTTPServerError, 500),
    (av.error.HTTPError, 499),
)
_NO_SUCH_TRANSPORT = 461
_log = logging.getLogger("magpie.stream")


class FfmpegLog(logging.Handler):
    """Takes FFmpeg's own messages: secrets out, and what repeats said once a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s, self._held = float("-inf"), 0

    def emit(self, record: logging.LogRecord) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s < _SAY_EVERY_S:
            self._held += 1
            return
        more = f" (and {self._held} messages before it)" if self._held else ""
        self._said_s, self._held = now_s, 0
        _log.warning("ffmpeg: %s%s", " ".join(redact(record.getMessage()).split()), more)


def capture_ffmpeg_log() -> None:
    """Let FFmpeg's errors come out through `magpie.stream` only; a second call changes nothing."""
    logger = logging.getLogger("libav")
    if not any(isinstance(handler, FfmpegLog) for handler in logger.handlers):
        logger.handlers[:] = [FfmpegLog()]
        logger.propagate = False
        logger.setLevel(logging.ERROR)
    av.logging.set_level(av.logging.ERROR)


@contextmanager
def typed_errors(url: str, doing: str, timeout_s: float, transport: str = "tcp") -> Iterator[None]:
    """Raise the SourceError that fits when FFmpeg fails inside the block.

    doing: "open" or "read". timeout_s: the deadline that the call had. transport: what RTSP asks.
    """
    before = av.logging.get_last_error()[0]
    began_s = time.monotonic()
    try:
        yield
    except av.error.FFmpegError as error:
        count, last = av.logging.get_last_error()
        said = "" if last is None or count == before else last[2]
        is_late = time.monotonic() - began_s >= timeout_s * 0.9
        status = _status(error, said)
        if status is not None:
            raise status_error(source_name(url), status, transport) from None
        raise _typed(error, url, doing, timeout_s, is_late, said) from None
    except (UnicodeError, ValueError, OSError) as error:
        raise CodecError.at(source_name(url), f"cannot be read ({redact(str(error))})") from None


def source_name(url: str) -> str:
    """Return how a source is named in errors."""
    return f"source {redact(url)!r}"


def _typed(
    error: av.error.FFmpegError, url: str, doing: str, timeout_s: float, is_late: bool, said: str
) -> Exception:
    where = source_name(url)
    why = redact(said.strip() or error.strerror or type(error).__name__)
    if isinstance(error, av.error.PermissionError):
        return AuthenticationError.at(where, "access denied", why, "check the permissions")
    if isinstance(error, av.error.FileNotFoundError):
        return NotFoundError.at(where, "no such stream", why, "check the path")
    if isinstance(error, av.error.ConnectionRefusedError):
        return RefusedError.at(where, "nothing listens there", why, "check host and port")
    if isinstance(error, av.error.ExitError | av.error.TimeoutError) or is_late:
        return _late(where, doing, timeout_s)
    if doing == "open" and isinstance(error, av.error.OSError) and not _is_data(error):
        return UnreachableError.at(
            where, "the host cannot be reached", why, "check the address and the network"
        )
    if isinstance(error, av.error.EOFError | av.error.ConnectionResetError):
        return EndedError.at(where, "the server ended the stream", why)
    if isinstance(error, av.error.BrokenPipeError | av.error.ConnectionAbortedError):
        return EndedError.at(where, "the server ended the stream", why)
    if doing == "read" and type(error) is av.error.OSError:
        return EndedError.at(where, "the stream broke", why)
    return CodecError.at(where, "the data cannot be understood as video", why)


def _status(error: av.error.FFmpegError, said: str) -> int | None:
    """Return the status with which a server refused, where that is what failed."""
    told = _RTSP_STATUS.search(said)
    if told is not None:
        return int(told[1])
    if isinstance(error, av.error.OSError) and error.errno == errno.EPROTONOSUPPORT:
        return _NO_SUCH_TRANSPORT  # no transport was left that both sides know
    return next((status for kind, status in _STATUS_OF if isinstance(error, kind)), None)


def _late(where: str, doing: str, timeout_s: float) -> SourceError | Exception:
    if doing == "open":
        return UnreachableError.at(where, f"no answer within {timeout_s:g} s", remedy="is it up?")
    return StalledError.at(where, f"no data for {timeout_s:g} s")


def _is_data(error: av.error.FFmpegError) -> bool:
    return isinstance(error, av.error.InvalidDataError)

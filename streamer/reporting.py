"""What an operator reads: one log line an event, trouble that repeats said once a second.

A line is `time process level message key=value`; passwords in URLs are redacted here, on the way
out, whoever wrote the line.
"""

import contextlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from streamer.errors import redact

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


class _LineFormatter(logging.Formatter):
    """`2026-11-21T10:00:00.123Z camera.door info opened size=1280x720`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
        text = record.getMessage().replace("\n", " | ")
        line = f"{stamp} {self._process} {record.levelname.lower()} {text}"
        fields = getattr(record, "fields", None)
        if fields:
            line += " " + " ".join(f"{key}={_value(value)}" for key, value in fields.items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redact(line)


class _StderrHandler(logging.Handler):
    """Writes each line in one piece, so that processes that share a terminal do not mix theirs."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


def _value(value: object) -> str:
    """One field's text, quoted when it holds blanks."""
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    text = text.replace("\n", " | ")
    return f'"{text}"' if " " in text or not text else text


def configure_logging(process: str, level: str = "info") -> None:
    """Send this process's log to stderr, each line with the process's name.

    level: debug, info or warning. Calling it again replaces the first call's settings.
    """
    handler = _StderrHandler()
    handler.setFormatter(_LineFormatter(process))
    root = logging.getLogger()
    for old in [known for known in root.handlers if isinstance(known, _StderrHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("magpie").setLevel(_LEVELS[level])


class Log:
    """One room's log: `log.info("camera is back", camera="door", after_s=2.1)`."""

    def __init__(self, room: str) -> None:
        self._logger = logging.getLogger(f"magpie.{room}")

    def debug(self, message: str, **fields: object) -> None:
        self._logger.debug("%s", message, extra={"fields": fields})

    def info(self, message: str, **fields: object) -> None:
        self._logger.info("%s", message, extra={"fields": fields})

    def warning(self, message: str, **fields: object) -> None:
        self._logger.warning("%s", message, extra={"fields": fields})

    def error(self, message: str, **fields: object) -> None:
        self._logger.error("%s", message, extra={"fields": fields})

    def exception(self, message: str, **fields: object) -> None:
        """An error of our own making, with its traceback."""
        self._logger.error("%s", message, exc_info=True, extra={"fields": fields})


class Tally:
    """Counts trouble that comes with every frame, and says it once a second.

    `add` counts; `flush` logs what came since the last line, when a second has passed.
    """

    def __init__(self, log: Log, what: str, every_s: float = 1.0) -> None:
        self._log = log
        self._what = what
        self._every_s = every_s
        self._new: Counter[str] = Counter()
        self._said_at_s = -every_s
        self.total: Counter[str] = Counter()

    def add(self, cause: str, count: int = 1) -> None:
        """Count `count` more of `cause`, and say so when it is time."""
        self._new[cause] += count
        self.total[cause] += count
        self.flush()

    def flush(self, now_s: float | None = None) -> None:
        """Log what was counted since the last line, at most once in `every_s`."""
        now_s = time.monotonic() if now_s is None else now_s
        if not self._new or now_s - self._said_at_s < self._every_s:
            return
        self._said_at_s = now_s
        fields: Mapping[str, object] = dict(self._new)
        self._log.warning(self._what, **fields)
        self._new.clear()

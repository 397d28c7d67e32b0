"""What an operator reads: one log line an event, trouble that repeats said once a second.

A line is `time process level message key=value`, or the same as one JSON object; secrets are
redacted here, on the way out, whoever wrote the line.
"""

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Literal

from pipeline.printable import json_text, printable_lines
from streamer.redaction import redact

LogFormat = Literal["text", "json"]
_OWN_KEYS = ("time", "process", "level", "message", "exception")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


_json_process = ""  # this process's name while its log is JSON


class _LineFormatter(logging.Formatter):
    """`2026-11-21T10:00:00.123Z camera.door info opened size=1280x720`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        text = redact(record.getMessage()).replace("\n", " | ")
        fields = getattr(record, "fields", None)
        if fields:
            text += " " + " ".join(f"{key}={_value(value)}" for key, value in fields.items())
        line = f"{_stamp(record.created)} {self._process} {record.levelname.lower()} {redact(text)}"
        if record.exc_info:
            line += "\n" + redact(self.formatException(record.exc_info))
        return printable_lines(line)


class _JsonFormatter(logging.Formatter):
    """`{"time": …, "process": "camera.door", "level": "info", "message": "opened", "size": …}`.

    Each value is redacted by itself, or the line might be no JSON any more. A field that is called
    as a key of the line itself gets a `_` behind it.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _stamp(record.created),
            "process": self._process,
            "level": record.levelname.lower(),
            "message": redact(record.getMessage()),
        }
        for key, value in (getattr(record, "fields", None) or {}).items():
            line[f"{key}_" if key in _OWN_KEYS else key] = _json_value(key, value)
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json_text(line)


class _StderrHandler(logging.Handler):
    """Writes each line in one piece, so that processes that share a terminal do not mix theirs."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


def _stamp(created_s: float) -> str:
    moment = datetime.fromtimestamp(created_s, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _json_value(key: str, value: object) -> object:
    """One field's value: numbers and truth as they are, all else as text."""
    is_plain = value is None or isinstance(value, bool | int)
    shown = f"{value:.3g}" if isinstance(value, float) else str(value)
    if redact(f"{key}=x0") != f"{key}=x0":
        return "***"  # its name tells that it is a secret
    if (hidden := redact(shown)) != shown:
        return hidden
    if isinstance(value, float):
        return float(shown) if isfinite(value) else shown
    return value if is_plain else shown


def _value(value: object) -> str:
    """One field's text, quoted when it holds blanks."""
    text = f"{value:.3g}" if isinstance(value, float) else redact(str(value))
    text = text.replace("\n", " | ")
    return f'"{text}"' if " " in text or not text else text


def hide_secrets_in_tracebacks() -> None:
    """Let nothing secret out with an error that nobody catches, in any thread of this process."""

    def show(error: BaseException | None, head: str = "") -> None:
        lines = traceback.format_exception(error) if error is not None else []
        text = redact(head + "".join(lines))
        with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr may be gone
            sys.stderr.write(_as_json_line(text) if _json_process else text)
            sys.stderr.flush()

    sys.excepthook = lambda _, error, __: show(error)
    threading.excepthook = lambda args: show(
        args.exc_value, f"Exception in thread {args.thread.name if args.thread else None}:\n"
    )
    sys.unraisablehook = lambda args: show(
        args.exc_value, f"{args.err_msg or 'Exception ignored in'}: {args.object!r}\n"
    )


def _as_json_line(text: str) -> str:
    """Return a traceback that nobody caught as a line of the log."""
    line = {
        "time": _stamp(time.time()),
        "process": _json_process,
        "level": "error",
        "message": "died of its own error",
        "exception": text.rstrip("\n"),
    }
    return json_text(line) + "\n"


def configure_logging(process: str, level: str = "info", log_format: LogFormat = "text") -> None:
    """Send this process's log to stderr, each line with the process's name.

    level: debug, info or warning. Calling it again replaces the first call's settings.
    """
    global _json_process
    is_json = log_format == "json"
    _json_process = process if is_json else ""
    handler = _StderrHandler()
    handler.setFormatter(_JsonFormatter(process) if is_json else _LineFormatter(process))
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

"""What the signals of a terminal, a service manager or a shell do to a run."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from streamer.daemon import Daemon


@contextlib.contextmanager
def stop_on_signals(daemon: Daemon) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the run in order, while in this context.

    SIGHUP has a run that was started with a configuration file read it again instead.
    """

    def on_signal(number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and daemon.can_reload:
            daemon.reload()
        else:
            daemon.stop()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

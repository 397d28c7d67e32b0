"""One webhook: POSTs each event, one after the other, until the server has taken it.

2xx is taken. 400, 413 and 422 speak of this one event: after three tries it is left out, which is
told. Everything else (5xx, 401, 404, no connection, a redirect) is waited for, however long.
"""

from __future__ import annotations

import logging
import ssl
import time
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions

from pipeline.errors import MagpieError
from streamer.child import ChildContext, WorkerState
from streamer.reporting import Log
from streamer.secret_text import read_secret
from streamer.sinks.backoff import Backoff
from streamer.sinks.journal_tail import Letter
from streamer.sinks.options import SinkArgs, WebhookOptions, checked_url
from streamer.sinks.outbox import Outbox, open_outbox
from streamer.sinks.signature import key_of, signed_headers
from streamer.version import version

POLL_S = 0.1
DRAIN_S = 0.7  # at the end, of the supervisor's stop_grace_s
_OF_THIS_EVENT = (400, 413, 422)
_TRIES_OF_A_REFUSED = 3
_ANSWER_MAX_BYTES = 64 * 1024
_BEAT_S = 0.5
_PORTS = {"http": 80, "https": 443}
_CAUSES = (
    (exceptions.NameResolutionError, "its name cannot be resolved"),
    (exceptions.ReadTimeoutError, "no answer in time"),
    (exceptions.TimeoutError, "it cannot be reached in time"),
)
_log = Log("sink")


class _NotTaken(Exception):
    """A try failed. retry_after_s: what the server asked for."""

    def __init__(self, why: str, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.status = status
        self.retry_after_s = retry_after_s


class Poster:
    """Sends one event to one address. The address and the key are read anew by each instance."""

    def __init__(self, options: WebhookOptions) -> None:
        """Raises ConfigError for an address or a secret that cannot be read."""
        self._url = checked_url(options)
        parts = urlsplit(self._url)
        self.place = f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"
        self._key = None if options.secret is None else key_of(read_secret(options.secret))
        self._pool = urllib3.PoolManager(
            num_pools=1,
            retries=False,
            timeout=urllib3.Timeout(connect=min(5.0, options.timeout_s), read=options.timeout_s),
            ca_certs=None if options.ca is None else str(options.ca),
            cert_reqs="CERT_REQUIRED",
        )
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Magpie/{version()}",
        }
        if parts.username is not None:
            self._headers |= urllib3.make_headers(
                basic_auth=f"{parts.username}:{parts.password or ''}"
            )
            self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def post(self, letter: Letter) -> None:
        """Return when the server has taken it; raises _NotTaken."""
        body = letter.text.encode()
        headers = self._headers | signed_headers(
            letter.event["event_id"], int(time.time()), body, self._key
        )
        try:
            answer = self._pool.request(
                "POST", self._url, body=body, headers=headers, redirect=False, preload_content=False
            )
            try:
                if len(answer.read(_ANSWER_MAX_BYTES)) == _ANSWER_MAX_BYTES:
                    answer.close()  # the rest of it is nobody's
            finally:
                answer.release_conn()
        except (exceptions.HTTPError, OSError) as error:
            raise _NotTaken(_cause(error)) from None
        if not 200 <= answer.status < 300:
            asked = answer.headers.get("Retry-After", "")
            retry_after_s = float(asked) if asked.isdecimal() and len(asked) < 6 else 0.0
            raise _NotTaken(f"it answered {answer.status}", answer.status, retry_after_s)

    def close(self) -> None:
        self._pool.clear()


class _Deliverer:
    """Brings letters to the server in order."""

    def __init__(self, context: ChildContext, args: SinkArgs, outbox: Outbox) -> None:
        assert isinstance(args.options, WebhookOptions)
        self._context = context
        self._options = args.options
        self._outbox = outbox
        self._backoff = Backoff(args.options.retry_max_s)
        self._poster: Poster | None = None

    def run(self) -> None:
        """Return when asked to stop, and what could be delivered by then has been."""
        stop_by_s = float("inf")
        while True:
            self._context.beat()
            letters = self._outbox.take(1)
            if self._context.is_stopping():
                stop_by_s = min(stop_by_s, time.monotonic() + DRAIN_S)
                if not letters or time.monotonic() > stop_by_s:
                    return
            if not letters:
                self._context.report(WorkerState.RUNNING, None, **self._outbox.counters())
                self._context.wait(POLL_S)
            elif not self._deliver(letters[0]):
                return

    def _deliver(self, letter: Letter) -> bool:
        """Try until it is delivered, or refused; False when the sink stops before."""
        for n_tries in range(1, 2**62):
            try:
                if self._poster is None:
                    self._poster = Poster(self._options)
                self._poster.post(letter)
            except (_NotTaken, MagpieError) as error:
                is_of_event = isinstance(error, _NotTaken) and error.status in _OF_THIS_EVENT
                if is_of_event and n_tries >= _TRIES_OF_A_REFUSED:
                    _log.warning(
                        "the server refuses an event; it is left out",
                        event_id=letter.event["event_id"], cause=error,
                    )  # fmt: skip
                    self._outbox.has_arrived(letter, is_refused=True)
                    return True
                if not self._wait_after(error):
                    return False
                continue
            self._backoff.reset()
            self._outbox.has_arrived(letter)
            self._context.report(WorkerState.RUNNING, None, **self._outbox.counters())
            return True
        raise AssertionError("there is no end of tries")

    def _wait_after(self, error: _NotTaken | MagpieError) -> bool:
        """Say what failed and wait; False when asked to stop meanwhile."""
        place = self._poster.place if self._poster is not None else "webhook"
        self._context.report(
            WorkerState.RECONNECTING, f"{error} ({place})", **self._outbox.counters()
        )
        if self._poster is not None:
            self._poster.close()
            self._poster = None  # secrets may have been renewed
        asked_s = error.retry_after_s if isinstance(error, _NotTaken) else 0.0
        until_s = time.monotonic() + self._backoff.next_s(asked_s)
        while (left_s := until_s - time.monotonic()) > 0:
            self._context.beat()
            if self._context.wait(min(left_s, _BEAT_S)):
                return False
        return not self._context.is_stopping()


def run_webhook(context: ChildContext, args: SinkArgs) -> None:
    """Deliver until asked to stop. Raises ConfigError for what a user must mend first."""
    assert isinstance(args.options, WebhookOptions)
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # its lines hold addresses
    Poster(args.options).close()
    outbox = open_outbox(args, context.run_dir)
    try:
        context.ready()
        context.report(WorkerState.RUNNING, None, **outbox.counters())
        _Deliverer(context, args, outbox).run()
    finally:
        outbox.close()


def _cause(error: Exception) -> str:
    """Return what went wrong with a request, without its address."""
    inner = error.__cause__ or next((a for a in error.args if isinstance(a, Exception)), error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {inner.verify_message}"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    for kind, text in _CAUSES:
        if isinstance(error, kind):
            return text
    return type(inner).__name__

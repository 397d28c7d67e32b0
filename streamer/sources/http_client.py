"""One HTTP connection to a camera: kept open, lenient, and never deaf while it waits.

The standard library's client reads what old firmware answers. Here it learns to wait in turns (the
worker's heartbeat goes on), to follow redirects, and to log in both ways that cameras ask for.
Certificates are not checked: cameras sign their own.
"""

import base64
import contextlib
import http.client
import io
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from urllib.parse import quote, unquote, urljoin, urlsplit

from pipeline.errors import SourceError
from streamer.errors import EndedError, RefusedError, UnreachableError, UnsupportedError
from streamer.sources.base import SourceOptions, Wait
from streamer.sources.failures import source_name
from streamer.sources.statuses import status_error

TURN_S = 0.5  # the longest wait without a heartbeat
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_AGENT = "Magpie"


class StoppedError(Exception):
    """Asked to stop while waiting for a camera."""


class CameraClient:
    """Asks one URL again and again."""

    def __init__(self, options: SourceOptions, wait: Wait) -> None:
        self._options, self._wait = options, wait
        self._where = source_name(options.url)
        self._connection: _Connection | None = None
        self._response: http.client.HTTPResponse | None = None  # holds the socket open, too
        self._passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        self._digest: urllib.request.HTTPDigestAuthHandler | None = None
        self._challenge: dict[str, str] = {}
        self._is_basic = False
        self.on_silence: Callable[[], None] = lambda: None  # may raise: it was enough

    def get(self, deadline_s: float) -> "Chunks":
        """Return the answer to one GET, its body not yet read.

        deadline_s: how long the answer's head may take. Raises a SourceError for everything but
        success, and StoppedError.
        """
        url, n_redirects, has_logged_in = self._options.url, 0, False
        until_s = time.monotonic() + deadline_s

        def on_silence() -> None:
            if time.monotonic() > until_s:
                raise UnreachableError.at(
                    self._where, f"no answer within {deadline_s:g} s", remedy="is it up?"
                )

        self.on_silence = on_silence
        while True:
            response = self._ask(url)
            status = response.status
            if status in _REDIRECTS and response.getheader("Location"):
                n_redirects += 1
                if n_redirects > _MOST_REDIRECTS:
                    raise UnsupportedError.at(
                        self._where, f"at most {_MOST_REDIRECTS} redirects are followed", "more"
                    )
                url = self._redirected(url, str(response.getheader("Location")))
            elif status == 401 and not has_logged_in and self._take_challenge(response):
                has_logged_in = True
            elif 200 <= status < 300:
                return Chunks(self, response)
            else:
                raise status_error(self._where, status)
            self._read_away(response)

    def close(self) -> None:
        """End the connection; twice is fine."""
        if self._response is not None:
            self._response.close()
            self._response = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def turn(self) -> None:
        """Nothing came for a turn: stay alive, and see whether it is enough."""
        if self._wait(0):
            raise StoppedError
        self.on_silence()

    def failure(self, error: Exception) -> SourceError | Exception:
        """Return the SourceError that a failure of the connection is."""
        why = error.__class__.__name__ if not str(error) else str(error)
        if isinstance(error, ConnectionRefusedError):
            return RefusedError.at(self._where, "nothing listens there", why, "check host and port")
        if isinstance(error, http.client.RemoteDisconnected):
            return UnreachableError.at(
                self._where, "the server closes without an answer", remedy="try https:// or http://"
            )
        if isinstance(error, ssl.SSLError):
            return UnsupportedError.at(
                self._where, "the server does not speak TLS as this URL says", why, "try http://"
            )
        if isinstance(error, ConnectionError | http.client.IncompleteRead):
            return EndedError.at(self._where, "the server ended the stream", why)
        if isinstance(error, http.client.HTTPException):
            return UnsupportedError.at(
                self._where, "expected an HTTP server", why[:80], "check the port"
            )
        return UnreachableError.at(
            self._where, "the host cannot be reached", why, "check the address and the network"
        )

    def _ask(self, url: str) -> http.client.HTTPResponse:
        """Send one GET; a connection that was kept and has been closed is opened once more."""
        parts = urlsplit(url)
        origin = (parts.scheme, parts.hostname or "", parts.port)
        is_kept = self._connection is not None and self._connection.origin == origin
        if not is_kept:
            self.close()
        target = _quoted(parts.path or "/") + (f"?{_quoted(parts.query)}" if parts.query else "")
        while True:
            try:
                return self._ask_once(origin, target, self._headers(url, target))
            except (http.client.HTTPException, OSError) as error:
                self.close()
                if not (is_kept and isinstance(error, ConnectionError)):
                    raise self.failure(error) from None
                is_kept = False

    def _ask_once(
        self, origin: tuple[str, str, int | None], target: str, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = _Connection(origin, self._options.open_timeout_s, self.turn)
        self._connection.request("GET", target, headers=headers)
        self._response = self._connection.getresponse()
        return self._response

    def _headers(self, url: str, target: str) -> dict[str, str]:
        """Return what goes with a request; credentials only to the host that they are for."""
        headers = {"User-Agent": _AGENT, "Accept": "*/*"}
        user, password = _credentials(url)
        if user is None:
            return headers
        if self._is_basic:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        elif self._digest is not None:
            self._passwords.add_password(None, url, user, password)
            request = urllib.request.Request(url)  # noqa: S310  (http(s) only)
            request.selector = target
            answer = self._digest.get_authorization(request, self._challenge)
            if answer:
                headers["Authorization"] = f"Digest {answer}"
        return headers

    def _take_challenge(self, response: http.client.HTTPResponse) -> bool:
        """Learn how the server wants to be told the password; returns whether that is possible."""
        if _credentials(self._options.url)[0] is None:
            return False
        offers = response.headers.get_all("WWW-Authenticate") or []
        for offer in offers:
            scheme, _, rest = offer.partition(" ")
            if scheme.lower() == "digest":
                challenge = urllib.request.parse_keqv_list(urllib.request.parse_http_list(rest))
                if challenge.get("algorithm", "MD5").upper() in ("MD5", "SHA"):
                    self._challenge = challenge
                    self._digest = urllib.request.HTTPDigestAuthHandler(self._passwords)
                    return True
        self._is_basic = any(offer.lower().startswith("basic") for offer in offers)
        return self._is_basic

    def _redirected(self, url: str, location: str) -> str:
        """Return where a redirect leads; another host is not told this one's password."""
        there = urljoin(url, location)
        here, to = urlsplit(url), urlsplit(there)
        if to.scheme not in ("http", "https"):
            raise UnsupportedError.at(
                self._where, "a redirect must lead to http:// or https://", to.scheme
            )
        is_same = (here.hostname, here.port, here.scheme) == (to.hostname, to.port, to.scheme)
        if is_same and "@" not in to.netloc and "@" in here.netloc:
            user_info = here.netloc.rpartition("@")[0]
            there = to._replace(netloc=f"{user_info}@{to.netloc}").geturl()
        return there

    def _read_away(self, response: http.client.HTTPResponse) -> None:
        """Read what a refusal says, so that the connection can be used again."""
        with contextlib.suppress(http.client.HTTPException, OSError):
            if response.length is not None and response.length < 65536:
                response.read()
                return
        self.close()


class Chunks:
    """An answer's body, piece by piece.

    waited_s: how long the last piece was waited for. last_s: when it came (monotonic).
    """

    def __init__(self, client: CameraClient, response: http.client.HTTPResponse) -> None:
        self._client, self._response = client, response
        self.content_type = (response.getheader("Content-Type") or "").strip().lower()
        self.waited_s, self.last_s = 0.0, time.monotonic()

    def next(self) -> bytes:
        """Return the next bytes, none at the end; raises a SourceError, StoppedError."""
        began_s = time.monotonic()
        try:
            data = self._response.read1(65536)
        except (http.client.HTTPException, OSError) as error:
            raise self._client.failure(error) from None
        self.last_s = time.monotonic()
        self.waited_s = self.last_s - began_s
        if not data:
            self._response.close()  # else the connection cannot be used again
        return data


class _Connection(http.client.HTTPConnection):
    """A connection whose answers are waited for in turns."""

    def __init__(
        self, origin: tuple[str, str, int | None], timeout_s: float, turn: Callable[[], None]
    ) -> None:
        self.origin = origin
        scheme, host, port = origin
        self._is_tls = scheme == "https"
        self._turn = turn
        super().__init__(host, port or (443 if self._is_tls else 80), timeout=timeout_s)
        self.response_class = self._response  # type: ignore[assignment]

    def connect(self) -> None:
        sock = socket.create_connection((self.host, self.port), self.timeout)
        if self._is_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = context.wrap_socket(sock, server_hostname=self.host)
        sock.settimeout(TURN_S)
        self.sock = sock

    def _response(self, sock: socket.socket, **kept: str | None) -> http.client.HTTPResponse:
        patient: socket.socket = _PatientSocket(sock, self._turn)  # type: ignore[assignment]
        return http.client.HTTPResponse(patient, method=kept.get("method"))


class _PatientSocket:
    """Hands http.client a file that waits in turns."""

    def __init__(self, sock: socket.socket, turn: Callable[[], None]) -> None:
        self._sock, self._turn = sock, turn

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_PatientFile(self._sock, self._turn))


class _PatientFile(io.RawIOBase):
    """A socket's bytes. socket.SocketIO would refuse to go on after its first time-out."""

    def __init__(self, sock: socket.socket, turn: Callable[[], None]) -> None:
        self._sock, self._turn = sock, turn
        self._hold = sock.makefile("rb", buffering=0)  # the socket lives as long as this does

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while True:
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError:
                self._turn()

    def close(self) -> None:
        self._hold.close()
        super().close()


def _credentials(url: str) -> tuple[str | None, str]:
    """Return the user (None: none) and the password that a URL carries, percent-decoded."""
    parts = urlsplit(url)
    if parts.username is None:
        return None, ""
    return unquote(parts.username), unquote(parts.password or "")


def _quoted(text: str) -> str:
    """Return a path or query that may stand in a request: blanks and letters beyond ASCII quoted,
    what is quoted already left as it is."""
    return quote(text, safe="%/:=&?~#+!$,;'@()*[]|\"<>{}^`\\")

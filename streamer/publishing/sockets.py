"""How sockets of the wire are opened: limits on what they receive, addresses, keys.

A peer that sends more than a limit is disconnected by zmq before the message is read.
"""

from __future__ import annotations

import contextlib
import errno
import socket as plain
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from pipeline.errors import ConfigError
from pipeline.writable import make_ready
from streamer.private_socket import bind_private
from streamer.publishing.options import Endpoint, PublishOptions
from streamer.run_dir import socket_path

if TYPE_CHECKING:
    from zmq.auth.thread import ThreadAuthenticator

DRAFT_MAX_BYTES = 64 * 1024  # one match from a matcher
QUESTION_MAX_BYTES = 16 * 1024  # a subscription or a question from outside
ANSWER_MAX_BYTES = 8 * 2**20  # a page of the journal, or the state of many cameras
EVENT_QUEUE = 4000  # events kept for a slow subscriber before it loses some (it fills the gap)
LINGER_MS = 500  # how long a closing socket still tries to send
_PEER_LOST_MS = 6000

_BIND_RULES = {
    errno.EADDRINUSE: ("must be free, another program uses it", "choose another port: --publish"),
    errno.EADDRNOTAVAIL: ("must be an address of this machine", "use 127.0.0.1"),
    errno.ENODEV: ("must be an address of this machine", "use 127.0.0.1"),
    errno.EACCES: ("this user may not open it", "choose a port above 1023"),
}


def sink_path(run_dir: Path) -> Path:
    """Return the socket file over which workers hand events to the daemon."""
    return socket_path(run_dir, "events.sock")


def private_endpoints(run_dir: Path) -> tuple[str, str]:
    """Return where workers of the run hear its events and ask, without keys: only this user can."""
    live, ask = socket_path(run_dir, "live.sock"), socket_path(run_dir, "ask.sock")
    return f"ipc://{live}", f"ipc://{ask}"


def bind(socket: zmq.Socket[bytes], endpoint: Endpoint, where: str) -> str:
    """Bind and return the address in use, with the port that the system chose.

    Raises ConfigError when the address is taken or not this machine's.
    """
    if endpoint.host.startswith("["):
        socket.ipv6 = True
    if endpoint.is_ipc:
        make_ready(Path(endpoint.path).parent, where, "choose another: --publish")
        _refuse_used_ipc(socket.context, endpoint, where)
    try:
        socket.bind(endpoint.bind_text)
    except zmq.ZMQError as error:
        rule, remedy = _BIND_RULES.get(
            error.errno or 0,
            (f"could not be opened ({error.strerror})", "choose another: --publish"),
        )
        raise ConfigError.at(where, rule, endpoint.text, remedy) from error
    return bytes(socket.getsockopt(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()


def refuse_used(options: PublishOptions) -> None:
    """Raise ConfigError when a socket of these options could not be bound now.

    Asked before the journal is opened: a second daemon must hear of the port that is in use, not
    of the journal that belongs to it.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        for endpoint, name in zip(options.check(), ("endpoint", "ask_endpoint"), strict=True):
            with context.socket(zmq.PUB) as socket:
                socket.linger = 0
                bind(socket, endpoint, f"publish.{name}")
    finally:
        context.term()  # returns when the ports are free again


def _refuse_used_ipc(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: Endpoint, where: str
) -> None:
    """Raise ConfigError when another program listens there: zmq would take the path from it."""
    with plain.socket(plain.AF_UNIX, plain.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(endpoint.path)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return
        except OSError:
            pass  # something is there and does not answer: not ours to take
    rule, remedy = _BIND_RULES[errno.EADDRINUSE]
    raise ConfigError.at(where, rule, endpoint.text, remedy)


def open_pull(context: zmq.Context[zmq.Socket[bytes]], run_dir: Path) -> zmq.Socket[bytes]:
    """Return the socket that takes what workers hand over; for this user only."""
    pull = context.socket(zmq.PULL)
    pull.maxmsgsize = DRAFT_MAX_BYTES
    bind_private(pull, f"ipc://{sink_path(run_dir)}")
    return pull


def open_pub(context: zmq.Context[zmq.Socket[bytes]], private: str) -> zmq.Socket[bytes]:
    """Return the socket that publishes, bound to its private endpoint only."""
    pub = context.socket(zmq.PUB)
    pub.sndhwm = EVENT_QUEUE
    pub.linger = LINGER_MS
    pub.maxmsgsize = QUESTION_MAX_BYTES
    bind_private(pub, private)
    return pub


class ServerKeys:
    """The daemon's CURVE keys, and who may connect; does nothing without a folder of keys."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Path | None) -> None:
        """Read `server.key_secret`; with a sub-folder `clients`, admit only its `*.key`.

        Raises ConfigError when the folder or a key is missing or damaged.
        """
        self._pair = None if keys is None else read_key(keys / "server.key_secret", is_secret=True)
        self._authenticator: ThreadAuthenticator | None = None
        if keys is None or not (keys / "clients").is_dir():
            return
        if not list((keys / "clients").glob("*.key")):
            rule = "must hold a public key (*.key) of each client that may connect"
            raise ConfigError.at("curve keys", rule, str(keys / "clients"), _HOW_TO_MAKE)
        from zmq.auth.thread import ThreadAuthenticator  # brings asyncio: only where it is used

        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain="*", location=str(keys / "clients"))

    def put_on(self, socket: zmq.Socket[bytes]) -> None:
        """Make the socket speak CURVE as the server; before bind."""
        if self._pair is not None:
            socket.curve_publickey, socket.curve_secretkey = self._pair
            socket.curve_server = True

    def close(self) -> None:
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None


_HOW_TO_MAKE = "make keys: magpie keys curve DIR"


def put_client_keys(socket: zmq.Socket[bytes], keys: Path | None) -> None:
    """Make the socket speak CURVE as a client; before connect.

    keys: folder with the daemon's `server.key`, and `client.key_secret` where the daemon admits
    only known clients (without it a passing pair is made). None: no keys.

    Raises ConfigError.
    """
    if keys is None:
        return
    socket.curve_serverkey = read_key(keys / "server.key", is_secret=False)[0]
    own = keys / "client.key_secret"
    pair = read_key(own, is_secret=True) if own.exists() else zmq.curve_keypair()
    socket.curve_publickey, socket.curve_secretkey = pair


def read_key(path: Path, is_secret: bool) -> tuple[bytes, bytes]:
    """Return public and secret key (empty where not wanted) of a zmq certificate file.

    Raises ConfigError; its text never holds a key.
    """
    import zmq.auth

    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        rule = f"a CURVE certificate is needed ({type(error).__name__})"
        raise ConfigError.at("curve keys", rule, str(path), _HOW_TO_MAKE) from error
    if is_secret and not secret:
        raise ConfigError.at("curve keys", "must hold the secret key", str(path), _HOW_TO_MAKE)
    return public, secret or b""


def connect_reader(socket: zmq.Socket[bytes], endpoint: Endpoint, keys: Path | None) -> None:
    """Connect a reader's socket; the daemon need not run yet.

    zmq notices and reconnects a connection whose other end vanished without a word.

    Raises ConfigError.
    """
    if endpoint.port is None and not endpoint.is_ipc:
        raise ConfigError.at("endpoint", "a reader needs the port", endpoint.text)
    socket.maxmsgsize = ANSWER_MAX_BYTES
    socket.ipv6 = endpoint.host.startswith("[")
    socket.heartbeat_ivl = _PEER_LOST_MS // 3
    socket.heartbeat_timeout = _PEER_LOST_MS
    socket.reconnect_ivl = 100
    socket.reconnect_ivl_max = 1000
    put_client_keys(socket, keys)
    try:
        socket.connect(endpoint.text)
    except zmq.ZMQError as error:
        rule = f"cannot be connected to ({error.strerror})"
        raise ConfigError.at("endpoint", rule, endpoint.text) from error


class Waker:
    """Wakes a thread that polls sockets, from any other thread."""

    def __init__(self) -> None:
        self._reader, self._writer = plain.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """The descriptor to poll for reading."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Make the poll return, now or the next time; never blocks."""
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: nobody polls
            self._writer.send(b"x")

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

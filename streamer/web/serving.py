"""The server in this process: uvicorn, with patience that ends, stopped by the worker's context."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.errors import ConfigError
from streamer.web.options import WebOptions, parse_address

HEAD_WITHIN_S = 10.0  # from the connection to the end of a request's head
CONNECTIONS_MAX = 512
UNSENT_WITHIN_MS = 60_000  # a client that reads nothing for so long is cut off by the kernel
_HEAD_MAX_BYTES = 32 * 1024
_STOP_WITHIN_S = 0.4
_BACKLOG = 128


class PatientProtocol(H11Protocol):
    """Ends connections that are too many, or that never finish asking."""

    _head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self._head_deadline = self.loop.call_later(HEAD_WITHIN_S, self._end_if_silent)

    def _end_if_silent(self) -> None:
        if self.cycle is None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """A server that leaves the signals to the worker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def open_listener(options: WebOptions) -> socket.socket:
    """Return the bound socket, listening not yet.

    Raises ConfigError when the address is taken or not this machine's.
    """
    address = parse_address(options.address)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    host = address.host
    if not host and socket.has_dualstack_ipv6():
        family, host = socket.AF_INET6, "::"
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not address.host:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_WITHIN_MS)
        listener.bind((host, address.port))
        listener.listen(
            _BACKLOG
        )  # here: with the port reused, only listening tells that it is used
    except OSError as error:
        listener.close()
        rule = f"must be free and of this machine ({error.strerror})"
        raise ConfigError.at(
            "web.address", rule, options.address, "choose another: --web"
        ) from error
    except BaseException:
        listener.close()
        raise
    return listener


def check_certificate(options: WebOptions) -> None:
    """Raise ConfigError when the certificate can't be used; nothing happens without one."""
    if options.tls_cert is None or options.tls_key is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            options.tls_cert, options.tls_key
        )
    except (OSError, ssl.SSLError) as error:
        rule = f"must be a certificate with its key ({error.strerror or type(error).__name__})"
        raise ConfigError.at("web.tls_cert", rule, str(options.tls_cert)) from error


def server_of(app: ASGIApp, options: WebOptions) -> uvicorn.Server:
    """Return the server, not running yet; end it by `should_exit`."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # the gate's
        server_header=False,
        h11_max_incomplete_event_size=_HEAD_MAX_BYTES,
        timeout_graceful_shutdown=1,
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
    )
    config.timeout_graceful_shutdown = _STOP_WITHIN_S  # type: ignore[assignment]
    return _Server(config)


async def serve(
    server: uvicorn.Server,
    listener: socket.socket,
    on_started: Callable[[], None],
    beat: Callable[[], None],
    stop_descriptor: int,
    before_stop: Callable[[], None],
) -> None:
    """Serve until the descriptor becomes readable.

    on_started: called once connections are taken. beat: called by this loop, twice a second.
    before_stop: called when asked to stop; ends what would go on for ever.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(stop_descriptor)
        before_stop()
        server.should_exit = True

    loop.add_reader(stop_descriptor, stop)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    has_started = False
    while not serving.done():
        if server.started and not has_started:
            has_started = True
            on_started()
        beat()
        await asyncio.wait([serving], timeout=0.5 if has_started else 0.01)
    await serving

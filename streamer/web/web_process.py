"""The web worker: HTTP beside the live path, at lower priority, with nothing that holds it up."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket

import anyio.to_thread

from pipeline.errors import MagpieError, WorkerError
from streamer.child import ChildContext, WorkerState
from streamer.publishing.options import journal_path
from streamer.reporting import Log
from streamer.web.application import build_application, with_gate
from streamer.web.arguments import WebArgs
from streamer.web.context import WebContext
from streamer.web.daemon_state import DaemonState
from streamer.web.event_hub import EventHub, Follower
from streamer.web.keys import Keys
from streamer.web.options import keys_path
from streamer.web.serving import check_certificate, open_listener, serve, server_of
from streamer.web.sessions import Sessions
from streamer.web.slowing import Slowing

_NICENESS = 5
_THREADS = 8  # requests that may read the journal at once

log = Log("web")


def run_web(context: ChildContext, args: WebArgs) -> None:
    """Serve until asked to stop.

    Raises ConfigError for an address in use or a certificate that is none.
    """
    check_certificate(args.options)
    with open_listener(args.options) as listener:
        asyncio.run(_run(context, args, listener))


async def _run(context: ChildContext, args: WebArgs, listener: socket.socket) -> None:
    hub = EventHub()
    failed: list[MagpieError] = []
    web = web_context(context, args, hub)
    server = server_of(with_gate(build_application(), web), args.options)
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS

    def fail(error: MagpieError) -> None:
        failed.append(error)
        hub.close()
        server.should_exit = True

    follower = Follower(context.run_dir, hub, asyncio.get_running_loop(), fail)

    def on_started() -> None:
        gc.collect()
        gc.freeze()
        address, port = listener.getsockname()[:2]
        log.info("serving", address=f"{address}:{port}", open=args.options.is_open)
        context.report(WorkerState.RUNNING, None, port=port)  # first: then it is known with it
        context.ready()
        with contextlib.suppress(OSError):
            os.nice(_NICENESS)

    follower.start()
    try:
        await serve(
            server, listener, on_started, context.beat, context.stop_descriptor(), hub.close
        )
    finally:
        follower.stop()
    if failed:
        raise WorkerError(str(failed[0]))


def web_context(context: ChildContext, args: WebArgs, hub: EventHub) -> WebContext:
    """Return what the routes are given."""
    journal = journal_path(args.publish, context.run_dir)
    return WebContext(
        options=args.options,
        run_dir=context.run_dir,
        journal_path=journal,
        evidence=args.evidence,
        keys=Keys(keys_path(args.options, journal)),
        sessions=Sessions(),
        slowing=Slowing(),
        hub=hub,
        state=DaemonState(context.run_dir),
    )

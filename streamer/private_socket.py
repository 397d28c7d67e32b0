"""Sockets in the run folder, over which the processes of one run, and its user, speak."""

from pathlib import Path

import zmq

from pipeline.errors import WorkerError


def bind_private(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Bind a socket to an endpoint in the run folder, for this user only; before keys, which don't
    hold there.

    Raises WorkerError where the folder is full.
    """
    path = Path(endpoint.removeprefix("ipc://"))
    try:
        socket.bind(endpoint)
        path.chmod(0o600)
    except (zmq.ZMQError, OSError) as error:
        rule = f"its sockets could not be written ({error.strerror})"
        remedy = "give it more room (docker: --shm-size)"
        raise WorkerError.at("run folder in shared memory", rule, str(path), remedy) from error

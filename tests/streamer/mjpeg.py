"""JPEG pictures and a tiny HTTP server for the tests of streams."""

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

from tests.streamer.clips import moving_square


def jpeg(number: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(moving_square(number)).save(data, "JPEG")
    return data.getvalue()


class QuietHandler(BaseHTTPRequestHandler):
    """Answers a test's requests without a line about each."""

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""A real RTSP server for tests: GStreamer's, run by the system's Python."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

SYSTEM_PYTHON = Path("/usr/bin/python3")
SERVER = Path(__file__).resolve().parents[2] / "scripts" / "rtsp_server.py"
_CHECK = (
    'import gi; gi.require_version("GstRtspServer", "1.0"); gi.require_version("GstApp", "1.0"); '
    "from gi.repository import Gst, GstApp, GstRtspServer; Gst.init(None); "
    'raise SystemExit(any(Gst.ElementFactory.find(name) is None for name in ("h264parse", '
    '"qtdemux", "rtph264pay", "appsrc")))'
)


def is_rtsp_server_there() -> bool:
    """Whether the system's Python can run the server."""
    if not SYSTEM_PYTHON.exists():
        return False
    command = [str(SYSTEM_PYTHON), "-c", _CHECK]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


class RtspServer:
    """A running server; `url` is where it serves, `sub_url` where its small stream if it has one.

    sub: the small stream's clip.
    """

    def __init__(
        self,
        clip: Path,
        port: int = 0,
        user: str = "",
        password: str = "",
        is_digest: bool = False,
        sub: Path | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            [str(SYSTEM_PYTHON), str(SERVER), str(clip), "--port", str(port),
             "--user", user, "--password", password, *(["--digest"] if is_digest else []),
             *(["--sub", str(sub)] if sub else [])],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        if words[:1] != ["ready"]:
            self.stop()
            raise RuntimeError(f"the RTSP server did not start: {words}")
        self.url = words[1]
        self.sub_url = f"{self.url}-sub"
        self.port = int(self.url.split(":")[2].split("/")[0])

    def stop(self) -> None:
        """End it as a camera that loses its power does not: with its sockets closed."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate(timeout=10)

    def send(self, number: int) -> None:
        self._process.send_signal(number)


@contextlib.contextmanager
def rtsp_server(
    clip: Path, port: int = 0, user: str = "", password: str = "", is_digest: bool = False
) -> Iterator[RtspServer]:
    server = RtspServer(clip, port, user, password, is_digest)
    try:
        yield server
    finally:
        server.stop()

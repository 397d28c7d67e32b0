#!/usr/bin/python3
"""Serve a video file over RTSP, in a loop: a stand-in for a camera, for tests and for trying.

    /usr/bin/python3 scripts/rtsp_server.py CLIP.mp4 [--port 8554] [--path /stream]
                                            [--user NAME --password WORD [--digest]]
                                            [--sub SMALL.mp4]

For the system's Python, which has GStreamer's bindings (scripts/install_test_tools.sh puts them
there). Serves the H.264 of an MP4 or Matroska file as it is. Prints "ready rtsp://…" when it
listens; port 0 takes a free one. Ends on SIGTERM or SIGINT. All clients see the same moment; the
file starts anew when the first client comes. With --sub it is a camera of two streams: the small
one is served at PATH-sub, and both show the same moment, whenever their clients come.
"""

import argparse
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402  (versions come first)

_CAPS = "video/x-h264,stream-format=byte-stream,alignment=au"


@dataclass(frozen=True)
class AccessUnit:
    """One coded picture; times from the file's start. is_key: a client can begin with it."""

    data: bytes
    pts_ns: int
    dts_ns: int
    is_key: bool


def read_access_units(clip: Path) -> tuple[list[AccessUnit], int]:
    """Return the file's coded pictures and its length in ns."""
    demuxer = "matroskademux" if clip.suffix == ".mkv" else "qtdemux"
    pipeline = Gst.parse_launch(
        f'filesrc location="{clip}" ! {demuxer} ! h264parse config-interval=-1 ! {_CAPS} '
        "! appsink name=sink sync=false"
    )
    sink = pipeline.get_by_name("sink")
    pipeline.set_state(Gst.State.PLAYING)
    units: list[AccessUnit] = []
    end_ns = 0
    while (sample := sink.try_pull_sample(10 * Gst.SECOND)) is not None:
        buffer = sample.get_buffer()
        length_ns = buffer.duration if buffer.duration != Gst.CLOCK_TIME_NONE else 40 * Gst.MSECOND
        dts_ns = buffer.dts if buffer.dts != Gst.CLOCK_TIME_NONE else buffer.pts
        is_key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        data = buffer.extract_dup(0, buffer.get_size())
        units.append(AccessUnit(data, buffer.pts, dts_ns, is_key))
        end_ns = max(end_ns, buffer.pts + length_ns)
    pipeline.set_state(Gst.State.NULL)
    if not units:
        sys.exit(f"{clip}: expected H.264 in MP4 or Matroska, got nothing that can be served")
    return units, end_ns - units[0].dts_ns


class Loop:
    """Feeds one RTSP medium for ever.

    began_ns: when the file began, by the media's clock; None: when the first client came.
    """

    def __init__(self, units: list[AccessUnit], length_ns: int, began_ns: int | None) -> None:
        self._units, self._length_ns, self._next = units, length_ns, 0
        self._began_ns, self._passed_ns = began_ns, 0

    def push_one(self, appsrc: GstApp.AppSrc, _wanted_bytes: int) -> None:
        if self._began_ns is not None:
            self._join(appsrc.get_clock().get_time(), appsrc.get_base_time())
        unit, shift_ns = self._unit()
        buffer = Gst.Buffer.new_wrapped(unit.data)
        shift_ns -= self._passed_ns
        buffer.pts, buffer.dts = unit.pts_ns + shift_ns, unit.dts_ns + shift_ns
        self._next += 1
        appsrc.emit("push-buffer", buffer)

    def _join(self, now_ns: int, base_ns: int) -> None:
        """Go on to the next key picture of a file that is being shown already."""
        self._passed_ns = base_ns - self._began_ns
        while True:
            unit, shift_ns = self._unit()
            if unit.is_key and unit.dts_ns + shift_ns >= now_ns - self._began_ns:
                break
            self._next += 1
        self._began_ns = None

    def _unit(self) -> tuple[AccessUnit, int]:
        """Return the next picture, and how much later than in the file its round shows it."""
        round_, index = divmod(self._next, len(self._units))
        return self._units[index], round_ * self._length_ns - self._units[0].dts_ns


def make_factory(clip: Path, began_ns: int | None = None) -> GstRtspServer.RTSPMediaFactory:
    """Return what makes the medium when a client asks for it. began_ns: as of Loop."""
    units, length_ns = read_access_units(clip)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( appsrc name=source is-live=true format=time caps={_CAPS} "
        "! h264parse ! rtph264pay name=pay0 pt=96 )"
    )
    factory.set_shared(True)

    def configure(_factory: object, media: GstRtspServer.RTSPMedia) -> None:
        appsrc = media.get_element().get_child_by_name("source")
        appsrc.connect("need-data", Loop(units, length_ns, began_ns).push_one)

    factory.connect("media-configure", configure)
    return factory


def require_password(
    server: GstRtspServer.RTSPServer,
    factories: list[GstRtspServer.RTSPMediaFactory],
    user: str,
    password: str,
    is_digest: bool,
) -> None:
    """Serve only who knows the password (basic or digest authentication)."""
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth = GstRtspServer.RTSPAuth()
    if is_digest:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    for factory in factories:
        factory.add_role_from_structure(
            Gst.Structure.new_from_string(
                "user, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
            )
        )


def serve(
    server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, path: str
) -> None:
    """Serve at the path, say on stdout where, and end when asked to."""
    server.get_mount_points().add_factory(path, factory)
    if not server.attach(None):
        sys.exit(f"port {server.get_service()} cannot be listened on; choose another")
    main_loop = GLib.MainLoop()
    for number in (signal.SIGTERM, signal.SIGINT):
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, main_loop.quit)
    print(f"ready rtsp://127.0.0.1:{server.get_bound_port()}{path}", flush=True)
    main_loop.run()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--path", default="/stream")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--digest", action="store_true")
    parser.add_argument("--sub", type=Path)
    options = parser.parse_args()
    for clip in filter(None, (options.clip, options.sub)):
        if not clip.is_file():
            sys.exit(f"{clip}: no such file")
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    began_ns = Gst.SystemClock.obtain().get_time() if options.sub else None
    factories = [make_factory(options.clip, began_ns)]
    if options.sub:
        factories.append(make_factory(options.sub, began_ns))
        server.get_mount_points().add_factory(f"{options.path}-sub", factories[1])
    if options.user:
        require_password(server, factories, options.user, options.password, options.digest)
    serve(server, factories[0], options.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""Serve a video file over RTSP at its own pace, and note when each picture was sent.

    /usr/bin/python3 scripts/rtsp_sender.py CLIP.mp4 STAMPS [--port 0] [--path /stream]

For the system's Python, as rtsp_server.py, whose parts it uses. Pictures go out one by one, each
when it is due; STAMPS gets a line for each, "<number> <Unix time ns>", once the last of its packets
was handed to the network's sink, which sends at once. Prints "ready rtsp://…" when it listens.
"""

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import IO

from rtsp_server import AccessUnit, read_access_units, serve

# isort: split
from gi.repository import Gst, GstRtspServer  # of the versions that rtsp_server asks for

_CAPS = "video/x-h264,stream-format=byte-stream,alignment=au"


class Sender:
    """Pushes access units into one medium, in a thread, until the medium is gone."""

    def __init__(self, units: list[AccessUnit], length_ns: int, stamps: IO[str]) -> None:
        self._units, self._stamps = units, stamps
        self._step_ns = length_ns / len(units)
        self._number = 0

    def start(self, media: GstRtspServer.RTSPMedia) -> None:
        bin_ = media.get_element()
        self._appsrc = bin_.get_child_by_name("source")
        pad = bin_.get_child_by_name("pay0").get_static_pad("src")
        pad.add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, self._note)
        self._sent = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        began_ns = time.monotonic_ns()
        while True:
            due_ns = began_ns + round(self._number * self._step_ns)
            time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
            unit = self._units[self._number % len(self._units)]
            # The appsrc stamps it with its clock: it is due now, no sink waits.
            result = self._appsrc.emit("push-buffer", Gst.Buffer.new_wrapped(unit.data))
            if result != Gst.FlowReturn.OK:
                return
            self._number += 1

    def _note(self, _pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        """Called in the payloader's thread, for a list or for single packets."""
        if info.type & Gst.PadProbeType.BUFFER_LIST:
            packets = info.get_buffer_list()
            last = packets.get(packets.length() - 1)
        else:
            last = info.get_buffer()
        if last.has_flags(Gst.BufferFlags.MARKER):
            self._stamps.write(f"{self._sent} {time.time_ns()}\n")
            self._stamps.flush()
            self._sent += 1
        return Gst.PadProbeReturn.OK


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("stamps", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--path", default="/stream")
    options = parser.parse_args()
    if not options.clip.is_file():
        sys.exit(f"{options.clip}: no such file")
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    units, length_ns = read_access_units(options.clip)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( appsrc name=source is-live=true do-timestamp=true format=time caps={_CAPS} "
        "! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    factory.set_shared(True)
    stamps = options.stamps.open("w")
    sender = Sender(units, length_ns, stamps)
    factory.connect("media-configure", lambda _factory, media: sender.start(media))
    serve(server, factory, options.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

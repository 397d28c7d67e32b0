"""Opens files of this machine for FFmpeg, by any name, and keeps them from reaching elsewhere."""

import os
import re
from pathlib import Path

import av
import av.container

_LOCAL_ONLY = "file,crypto,data"  # for what a playlist names; crypto: an encrypted HLS recording
_LIKE_A_PATTERN = re.compile(r"[%*?\[{]")  # FFmpeg would look for img000.jpg, img001.jpg…


def open_local_file(path: str | Path, timeout_s: float) -> av.container.InputContainer:
    """Open a file with FFmpeg; raises FFmpegError and OSError.

    The path is never read as a URL, a protocol (`10:00.mp4`, `concat:a|b`) or a pattern
    (`img%03d.jpg`). What is in the file (a playlist, an SDP) may name other files, and no network.
    """
    whole = os.path.abspath(path)
    if not _LIKE_A_PATTERN.search(whole):
        return _open(whole, timeout_s)
    descriptor = os.open(whole, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _open(f"/dev/fd/{descriptor}", timeout_s)
    finally:
        os.close(descriptor)  # FFmpeg has opened its own


def _open(path: str, timeout_s: float) -> av.container.InputContainer:
    return av.open(
        f"file:{path}",
        "r",
        container_options={"protocol_whitelist": _LOCAL_ONLY},
        metadata_errors="replace",  # tags are in any encoding, and nobody reads them
        timeout=timeout_s,
    )

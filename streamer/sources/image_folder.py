"""A folder of images, in the order of their names, as if it were a film."""

import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import MagpieError
from pipeline.printable import printable
from streamer.errors import CodecError, NotFoundError
from streamer.sources.base import Damaged, Picture, SourceOptions, Wait, image_files
from streamer.sources.decoding import video_stream
from streamer.sources.failures import capture_ffmpeg_log, source_name, typed_errors
from streamer.sources.local_file import open_local_file
from streamer.sources.planes import PlaneMaker

_DEFAULT_FPS = 25.0


class ImageFolderSource:
    """One picture an image; one that cannot be read is told and left out."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        self._maker = PlaneMaker()
        capture_ffmpeg_log()

    def pictures(self, wait: Wait) -> Iterator[Picture | Damaged]:
        folder = Path(self.options.url)
        if not folder.is_dir():
            raise NotFoundError.at(source_name(self.options.url), "no such folder")
        period_ns = round(1e9 / (self.options.fps or _DEFAULT_FPS))
        start_ns, number, n_good = time.monotonic_ns(), 0, 0
        while True:
            for path in image_files(folder):
                due_s = (start_ns + number * period_ns - time.monotonic_ns()) / 1e9
                if wait(max(0.0, due_s) if self.options.realtime else 0.0):
                    return
                picture = self._read(path, number * period_ns)
                n_good += isinstance(picture, Picture)
                number += 1
                yield picture
            if not n_good:
                raise CodecError.at(source_name(self.options.url), "expected readable images", 0)
            if not self.options.loop:
                return

    def _read(self, path: Path, media_ns: int) -> Picture | Damaged:
        began_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        timeout_s = self.options.open_timeout_s
        try:
            with (
                typed_errors(str(path), "open", timeout_s),
                open_local_file(path, timeout_s) as container,
            ):
                frame = next(container.decode(video_stream(container, self.options)), None)
            if frame is None:
                raise CodecError.at(source_name(str(path)), "expected a picture", "none")
            if frame.is_corrupt:
                raise CodecError.at(source_name(str(path)), "decoded with errors")
            (y, u, v), matrix, color_range = self._maker.planes(frame)
        except MagpieError as error:
            return Damaged(f"{printable(path.name)}: {error}")
        decode_ms = (time.monotonic_ns() - began_ns) / 1e6
        return Picture(
            y, u, v, matrix, color_range, began_ns, wall_ns, "file", media_ns, decode_ms
        )  # fmt: skip

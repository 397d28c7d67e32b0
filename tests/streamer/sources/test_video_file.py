"""Video files: every picture once, in order, upright, at its true time."""

import gc
import itertools
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamer.errors import CodecError
from streamer.sources.base import Damaged, Picture, SourceOptions, create_source
from streamer.sources.decoding import MediaClock, video_stream
from streamer.sources.frame_facts import PixelAspect, TurnReader
from streamer.sources.planes import PlaneMaker
from streamer.sources.probe import probe, report_lines
from tests.streamer.clips import moving_square, write_clip
from tests.streamer.sources.reading import bgr, keep, pictures_of, read, sleep


def test_every_picture_of_a_file_comes_once_and_in_order(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 25, options={"bf": "2"})
    pictures = pictures_of(clip)
    assert len(pictures) == 25
    assert {picture.size_wh for picture in pictures} == {(320, 240)}
    assert {picture.clock for picture in pictures} == {"file"}
    assert [round(picture.media_ns / 1e6) for picture in pictures] == list(range(0, 1000, 40))
    for number, picture in enumerate(pictures):
        assert np.abs(bgr(picture)[:, :, ::-1].astype(int) - moving_square(number)).mean() < 3


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg", "libx265", "ffv1"])
def test_other_codecs_work(tmp_path: Path, codec: str) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"x265-params": "log-level=none:pools=1"} if codec == "libx265" else None
    clip = write_clip(
        tmp_path / "a.mkv", 5, codec=codec, pixel_format=pixel_format, options=options
    )
    pictures = pictures_of(clip)
    assert len(pictures) == 5
    assert np.abs(bgr(pictures[2])[:, :, ::-1].astype(int) - moving_square(2)).mean() < 6


def test_realtime_keeps_the_files_pace_and_loop_goes_on(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 5)
    source = create_source(SourceOptions(url=str(clip), realtime=True, loop=True))
    pictures = [keep(each) for each in itertools.islice(source.pictures(sleep), 13)]
    assert all(isinstance(each, Picture) for each in pictures)
    media_ms = [round(each.media_ns / 1e6) for each in pictures]  # type: ignore[union-attr]
    assert media_ms == list(range(0, 13 * 40, 40))
    first, last = pictures[0], pictures[-1]
    took_ms = (last.captured_ns - first.captured_ns) / 1e6  # type: ignore[union-attr]
    assert took_ms >= 10 * 40


@pytest.mark.parametrize("n_threads", [1, 2])
def test_no_decoder_has_frame_threads(tmp_path: Path, n_threads: int) -> None:
    """Frame threads hold each picture back for as many pictures as there are threads."""
    clip = write_clip(tmp_path / "a.mp4", 5)
    options = SourceOptions(url=str(clip), decoder_threads=n_threads)
    with av.open(str(clip)) as container:
        stream = video_stream(container, options)
        assert next(container.decode(stream)).width == 320
        assert stream.thread_type.name == "SLICE" and stream.thread_count == n_threads


def test_a_stop_ends_a_paced_file_at_once(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 5, times_s=[0, 30, 40, 45, 50])
    source = create_source(SourceOptions(url=str(clip), realtime=True))
    asked: list[float] = []

    def stop_at_a_long_wait(seconds: float) -> bool:
        asked.append(seconds)
        return max(asked) > 1

    assert len(list(source.pictures(stop_at_a_long_wait))) == 1


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times_s = [0, 0.04, 0.5, 0.52, 2.0]
    clip = write_clip(tmp_path / "a.mkv", 5, times_s=times_s)
    assert [picture.media_ns / 1e9 for picture in pictures_of(clip)] == pytest.approx(times_s)


def test_times_that_jump_back_and_sizes_that_change(tmp_path: Path) -> None:
    """Two transport streams put together: the second starts at 0 again and is of another size."""
    parts = [
        write_clip(tmp_path / "1.ts", 10, size_wh=(320, 240)),
        write_clip(tmp_path / "2.ts", 10, size_wh=(162, 122)),
    ]
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    pictures = pictures_of(whole)
    sizes = [picture.size_wh for picture in pictures]
    assert sizes == [(320, 240)] * 10 + [(162, 122)] * 10
    media_ns = [picture.media_ns for picture in pictures]
    assert media_ns == sorted(set(media_ns))


def test_a_media_clock_never_goes_back() -> None:
    clock = MediaClock(nominal_s=0.04)
    stamps = [5.0, 5.04, 5.04, None, 5.2, 1.0, 1.04, 9000.0, 9000.5]
    times_s = [clock.at(stamp) for stamp in stamps]
    expected = [0, 0.04, 0.08, 0.12, 0.24, 0.28, 0.32, 0.36, 0.86]
    assert times_s == pytest.approx(expected)


@pytest.mark.parametrize("size_wh", [(321, 241), (33, 17), (1, 1)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p"])
def test_odd_sizes_work(tmp_path: Path, size_wh: tuple[int, int], pixel_format: str) -> None:
    image = np.full((size_wh[1], size_wh[0], 3), (200, 40, 30), np.uint8)
    clip = write_clip(
        tmp_path / "a.mkv", [image] * 2, codec="ffv1", pixel_format=pixel_format, size_wh=size_wh
    )
    picture = pictures_of(clip)[0]
    assert picture.size_wh == size_wh
    assert picture.u.shape == ((size_wh[1] + 1) // 2, (size_wh[0] + 1) // 2)
    assert np.abs(bgr(picture).astype(int) - (30, 40, 200)).max() <= 4


@pytest.mark.parametrize(
    ("rotation_deg", "corner"), [(0, "tl"), (90, "bl"), (180, "br"), (-90, "tr"), (270, "tr")]
)
def test_rotation_is_applied(tmp_path: Path, rotation_deg: int, corner: str) -> None:
    """A mark in the top left corner; the display matrix turns it counter-clockwise."""
    image = np.full((240, 320, 3), 40, np.uint8)
    image[:60, :60] = (230, 30, 30)
    clip = write_clip(tmp_path / "a.mp4", [image] * 2, rotation_deg=rotation_deg)
    picture = pictures_of(clip)[0]
    width, height = picture.size_wh
    assert (width, height) == ((240, 320) if rotation_deg % 180 else (320, 240))
    x = 20 if corner[1] == "l" else width - 20
    y = 20 if corner[0] == "t" else height - 20
    shown = bgr(picture)
    assert shown[y, x, 2] > 200
    shown[max(0, y - 45) : y + 45, max(0, x - 45) : x + 45] = 40
    assert shown[:, :, 2].max() < 80


def test_a_file_that_is_no_video_is_one_sentence(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("these are not the pictures you are looking for" * 100)
    with pytest.raises(CodecError, match=r"^source '.*notes\.mp4': the data cannot be understood"):
        read(text)


def test_a_sound_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(CodecError, match="expected a video stream"):
        read(path)


def test_damaged_data_is_told_and_the_rest_is_delivered(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.avi", 30, codec="mjpeg", pixel_format="yuvj420p")
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        victims = [packet for packet in container.demux(video=0) if packet.size][10:12]
        places = [(packet.pos, packet.size) for packet in victims]
    for position, size in places:
        assert position is not None
        data[position : position + size] = bytes(size)
    clip.write_bytes(data)
    seen = read(clip)
    damaged = [each for each in seen if isinstance(each, Damaged)]
    assert len(seen) == 30 and len(damaged) == 2
    assert all(each.reason for each in damaged)


@pytest.mark.parametrize(
    ("suffix", "aspect", "shown_wh"),
    [
        ("mp4", Fraction(2), (640, 240)),
        ("mkv", Fraction(2), (640, 240)),
        ("ts", Fraction(2), (640, 240)),  # only the codec says it there
        ("mp4", Fraction(1, 2), (320, 480)),
        ("mp4", Fraction(16, 11), (466, 240)),
        ("mp4", Fraction(16, 15), (342, 240)),
        ("mp4", Fraction(1), (320, 240)),
        ("mp4", Fraction(200, 201), (320, 240)),
        ("mp4", Fraction(9, 2), (320, 240)),
        ("mp4", Fraction(1, 5), (320, 240)),
        ("mp4", None, (320, 240)),
    ],
)
def test_pixels_become_square(
    tmp_path: Path, suffix: str, aspect: Fraction | None, shown_wh: tuple[int, int]
) -> None:
    """What is said beyond 4:1 is a mistake; less than 1 % counts as square."""
    clip = write_clip(tmp_path / f"a.{suffix}", 10, aspect=aspect)
    pictures = pictures_of(clip)
    assert {picture.size_wh for picture in pictures} == {shown_wh}
    expected = cv2.resize(moving_square(2), shown_wh, interpolation=cv2.INTER_LINEAR)
    assert np.abs(bgr(pictures[2])[:, :, ::-1].astype(int) - expected).mean() < 3
    report = probe(str(clip))
    assert report.size_wh == shown_wh
    is_stored_so = shown_wh == (320, 240)
    assert any("stored with pixels" in line for line in report_lines(report)) != is_stored_so


@pytest.mark.parametrize("aspect", [None, Fraction(1)])
def test_square_pixels_pass_without_a_copy(tmp_path: Path, aspect: Fraction | None) -> None:
    clip = write_clip(tmp_path / "a.mp4", 3, aspect=aspect)
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        (y, _, _), _, _ = PlaneMaker(PixelAspect(container, stream).now).planes(frame)
        assert y.ctypes.data == frame.planes[0].buffer_ptr
        del y, frame


def test_pixels_that_change_their_shape_are_followed(tmp_path: Path) -> None:
    parts = [
        write_clip(tmp_path / "1.ts", 10, aspect=Fraction(2)),
        write_clip(tmp_path / "2.ts", 10, aspect=Fraction(1)),
    ]
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    sizes = [picture.size_wh for picture in pictures_of(whole)]
    assert sizes == [(640, 240)] * 10 + [(320, 240)] * 10


def test_pixels_become_square_before_the_picture_is_turned(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 2, aspect=Fraction(2), rotation_deg=90)
    assert pictures_of(clip)[0].size_wh == (240, 640)


def test_looking_at_a_frame_does_not_keep_it(tmp_path: Path) -> None:
    """Circles would keep pixels until the garbage collector comes by: 3 MB each at 1080p."""
    clip = write_clip(tmp_path / "a.mp4", 2, rotation_deg=90)
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
    gc.collect()
    gc.disable()
    try:
        reader = TurnReader()
        assert reader.turn_of(frame) is not None
        del reader
        assert gc.collect() == 0
    finally:
        gc.enable()

"""Files, folders and the test pattern: every picture, upright, in its true colours and times."""

import itertools
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.color import frame_bgr
from pipeline.errors import ConfigError
from pipeline.types import ColorMatrix, ColorRange, Frame
from streamer.errors import CodecError
from streamer.sources.base import (
    Damaged,
    Picture,
    SourceOptions,
    check_source,
    create_source,
)
from streamer.sources.decoding import MediaClock, video_stream
from tests.pipeline.test_color import (
    LUMA_WEIGHTS,
    PATCH_PX,
    PATCHES_RGB,
    delta_e,
    patch_frame,
)
from tests.streamer.clips import frame_of_planes, moving_square, write_clip


def read(path: Path | str, **options: object) -> list[Picture | Damaged]:
    """Everything that a source gives; its planes are copied, for they live one picture long."""
    source = create_source(SourceOptions(url=str(path), **options))  # type: ignore[arg-type]
    return [keep(each) for each in source.pictures(sleep)]


def keep(each: Picture | Damaged) -> Picture | Damaged:
    if isinstance(each, Damaged):
        return each
    return Picture(
        each.y.copy(), each.u.copy(), each.v.copy(), each.matrix, each.range,
        each.captured_ns, each.wall_ns, each.clock, each.media_ns, each.decode_ms,
    )  # fmt: skip


def sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def pictures_of(path: Path | str, **options: object) -> list[Picture]:
    return [each for each in read(path, **options) if isinstance(each, Picture)]


def bgr(picture: Picture) -> np.ndarray:
    planes = (picture.y, picture.u, picture.v)
    return frame_bgr(Frame("c", 0, 0, 0, *planes, picture.matrix, picture.range))


# --- naming a source --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind", "is_live"),
    [
        ("rtsp://camera/1", "rtsp", True),
        ("RTSPS://camera/1", "rtsp", True),
        ("http://camera/mjpeg", "http", True),
        ("https://camera/list.m3u8", "http", True),
        ("0", "webcam", True),
        ("/dev/video3", "webcam", True),
        ("film.mp4", "file", False),
        ("a:b.mp4", "file", False),
        (".", "folder", False),
        ("test:", "test", True),
        ("test:?frames=3&paced=0", "test", False),
    ],
)
def test_a_source_is_told_by_its_text(url: str, kind: str, is_live: bool) -> None:
    options = SourceOptions(url=url)
    assert (options.kind, options.is_live) == (kind, is_live)
    assert SourceOptions(url=url, realtime=True).is_live or "paced=0" in url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("htp://x", "expected rtsp://, rtsps://, http(s)://, a device number, a file, a folder"),
        ("ftp://me:secret@x/y", "got 'ftp://***@x/y'"),
        ("nothing.mp4", "source 'nothing.mp4': no such file"),
        ("rtsp://", "expected a host"),
        ("rtsp://me:secret@camera:port/1", "expected a URL with host and port"),
        ("test:?size=big", "expected size=WIDTHxHEIGHT"),
        ("test:?colour=red", "expected test:?size=WxH"),
        ("test:hello", "expected test:?size=WxH"),
    ],
)
def test_a_wrong_source_is_one_sentence(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_source(SourceOptions(url=url))
    assert says in str(caught.value)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_empty_files_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    for path in (tmp_path / "empty.mp4", tmp_path):
        with pytest.raises(ConfigError):
            check_source(SourceOptions(url=str(path)))


# --- video files ------------------------------------------------------------------------


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


# --- colours ----------------------------------------------------------------------------

_TAG = {ColorMatrix.BT709: 1, ColorMatrix.BT601: 5}
_RANGE_TAG = {ColorRange.LIMITED: 1, ColorRange.FULL: 2}


def patch_planes(matrix: ColorMatrix, color_range: ColorRange, pixel_format: str) -> av.VideoFrame:
    """The eight patches as planes of a pixel format, made from the 4:2:0 ones by numpy."""
    patches = patch_frame(matrix, color_range)
    size_wh = patches.size_wh
    steps = {"yuv420p": (2, 2), "yuv422p": (2, 1), "yuv444p": (1, 1)}[pixel_format.split("10")[0]]
    chroma = [
        np.repeat(np.repeat(plane, 2 // steps[0], axis=1), 2 // steps[1], axis=0)
        for plane in (patches.u, patches.v)
    ]
    planes = [patches.y, *chroma]
    if pixel_format.endswith("10le"):
        planes = [(plane.astype("<u2") * 4).view(np.uint8) for plane in planes]
    return frame_of_planes(planes, pixel_format, size_wh)


@pytest.mark.parametrize("matrix", list(ColorMatrix))
@pytest.mark.parametrize("color_range", list(ColorRange))
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_eight_patches_come_through_a_file(
    tmp_path: Path, matrix: ColorMatrix, color_range: ColorRange, pixel_format: str
) -> None:
    frame = patch_planes(matrix, color_range, pixel_format)
    clip = write_clip(
        tmp_path / "a.mkv", [frame], codec="ffv1", pixel_format=pixel_format,
        size_wh=(frame.width, frame.height),
        tags={"colorspace": _TAG[matrix], "color_range": _RANGE_TAG[color_range]},
    )  # fmt: skip
    picture = pictures_of(clip)[0]
    assert (picture.matrix, picture.range) == (matrix, color_range)
    centres = bgr(picture)[PATCH_PX // 2, PATCH_PX // 2 :: PATCH_PX, ::-1]
    assert delta_e(centres.astype(float), PATCHES_RGB).max() < 3


@pytest.mark.parametrize("pixel_format", ["bgr0", "gbrp10le"])
def test_rgb_video_keeps_its_colours(tmp_path: Path, pixel_format: str) -> None:
    image = np.repeat(np.repeat(PATCHES_RGB[None], PATCH_PX, 1), PATCH_PX, 0).astype(np.uint8)
    clip = write_clip(
        tmp_path / "a.mkv", [image], codec="ffv1", pixel_format=pixel_format,
        size_wh=(image.shape[1], image.shape[0]),
    )  # fmt: skip
    centres = bgr(pictures_of(clip)[0])[PATCH_PX // 2, PATCH_PX // 2 :: PATCH_PX, ::-1]
    assert delta_e(centres.astype(float), PATCHES_RGB).max() < 3


def test_grayscale_is_gray(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 256, dtype=np.uint8), (64, 1))
    frame = frame_of_planes([ramp], "gray", (256, 64))
    clip = write_clip(
        tmp_path / "a.mkv", [frame], codec="ffv1", pixel_format="gray", size_wh=(256, 64)
    )
    shown = bgr(pictures_of(clip)[0]).astype(int)
    assert np.abs(shown - ramp[:, :, None]).max() <= 1


@pytest.mark.parametrize(("height", "matrix"), [(718, "bt601"), (720, "bt709")])
def test_an_unspecified_matrix_goes_by_the_lines(tmp_path: Path, height: int, matrix: str) -> None:
    clip = write_clip(tmp_path / "a.mp4", 1, size_wh=(64, height))
    picture = pictures_of(clip)[0]
    assert (picture.matrix, picture.range) == (matrix, "limited")


def test_the_luma_weights_of_the_patches_sum_to_one() -> None:
    assert [sum(weights) for weights in LUMA_WEIGHTS.values()] == pytest.approx([1, 1])


# --- folders and the test pattern -------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for number, name in enumerate(["a.png", "b.jpg", "d.webp"]):
        image = np.full((40 + number, 60, 3), 40 + 80 * number, np.uint8)
        assert cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("left out")
    seen = read(tmp_path)
    assert [type(each) for each in seen] == [Picture, Picture, Damaged, Picture]
    assert seen[2].reason.startswith("c.jpg: ")  # type: ignore[union-attr]
    good = [each for each in seen if isinstance(each, Picture)]
    assert [picture.size_wh for picture in good] == [(60, 40), (60, 41), (60, 42)]
    for number, picture in enumerate(good):
        assert abs(int(bgr(picture).mean()) - (40 + 80 * number)) <= 2


def test_a_folder_without_a_readable_image_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    with pytest.raises(CodecError, match="expected readable images"):
        read(tmp_path)


def test_the_pattern_moves_ends_and_is_lossless_on_request() -> None:
    pictures = pictures_of("test:?size=321x201&frames=10&paced=0")
    assert len(pictures) == 10
    assert {picture.size_wh for picture in pictures} == {(321, 201)}
    assert all((one.y != other.y).any() for one, other in itertools.pairwise(pictures))


def test_the_pattern_keeps_its_pace() -> None:
    pictures = pictures_of("test:?size=64x48&frames=6&fps=50")
    assert (pictures[-1].captured_ns - pictures[0].captured_ns) / 1e6 >= 80
    assert {picture.clock for picture in pictures} == {"arrival"}

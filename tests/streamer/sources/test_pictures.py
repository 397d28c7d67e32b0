"""Single pictures of every kind: upright as EXIF says, and an odd one ends nothing."""

import contextlib
import io
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from streamer.child import WorkerState
from streamer.errors import CodecError
from streamer.sources.base import Damaged, Picture, SourceOptions, create_source
from streamer.sources.frame_facts import TurnReader
from streamer.sources.planes import PlaneMaker
from streamer.sources.probe import probe
from tests.streamer.camera_rig import Rig
from tests.streamer.mjpeg import QuietHandler, serving
from tests.streamer.sources.reading import bgr, keep, pictures_of, read, sleep

ORIENTATION = 0x0112
ROOT = Path(__file__).resolve().parents[3]


def marked() -> Image.Image:
    """64x48: a red corner, a green one, a blue side; no turn or mirror leaves it as it is."""
    image = np.full((48, 64, 3), 90, np.uint8)
    image[:16, :24], image[:16, 40:], image[32:, 16:48] = (
        (220, 40, 40),
        (40, 200, 40),
        (40, 40, 220),
    )
    return Image.fromarray(image)


def encoded(format_name: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = io.BytesIO()
    quality = {"quality": 95} if format_name in ("JPEG", "WEBP") else {}
    marked().save(data, format_name, exif=exif, **quality, **options)  # type: ignore[arg-type]
    return data.getvalue()


def upright_bgr(data: bytes) -> np.ndarray:
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    return np.asarray(upright)[:, :, ::-1]


def assert_shows(picture: Picture | Damaged, data: bytes) -> None:
    assert isinstance(picture, Picture), picture
    shown, expected = bgr(picture), upright_bgr(data)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_folders_pictures_are_turned_as_exif_says(tmp_path: Path, format_name: str) -> None:
    """One size and one format: two turns in a row differ in nothing else."""
    files = {n: encoded(format_name, n) for n in range(1, 9)}
    for number, data in files.items():
        (tmp_path / f"{number}.{format_name.lower()}").write_bytes(data)
    for picture, data in zip(read(tmp_path), files.values(), strict=True):
        assert_shows(picture, data)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_single_picture_is_one_frame(tmp_path: Path, format_name: str, orientation: int) -> None:
    data = encoded(format_name, orientation)
    photo = tmp_path / f"photo.{format_name.lower()}"
    photo.write_bytes(data)
    (picture,) = read(photo)
    assert_shows(picture, data)
    report = probe(str(photo))
    assert report.size_wh == ((48, 64) if orientation == 6 else (64, 48))
    assert (report.pictures, report.damaged) == (1, 0)


def test_a_camera_with_a_single_picture_ends(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded("JPEG", 6))
    rig = Rig(tmp_path, url=str(photo))
    try:
        assert rig.work_until_end() == [0]
    finally:
        rig.close()
    assert rig.error is None and rig.context.state() is WorkerState.ENDED


def test_a_stream_of_jpegs_is_turned_picture_by_picture() -> None:
    order = [1, 4, 1, 2, 3, 5, 6, 8, 7, 1]  # 1 and 4, 2 and 3… have one rotation, not one mirror
    pictures = [encoded("JPEG", n) for n in order]
    with serving(multipart_of(pictures)) as address:
        source = create_source(SourceOptions(url=f"http://{address}/", read_timeout_s=2))
        with contextlib.closing(source.pictures(sleep)) as stream:  # type: ignore[type-var]
            seen = [keep(each) for each in itertools.islice(stream, len(order))]
    for picture, data in zip(seen, pictures, strict=True):
        assert_shows(picture, data)


def multipart_of(pictures: list[bytes]) -> type[QuietHandler]:
    class Camera(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for data in pictures:
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")

    return Camera


def test_a_named_colour_profile_ends_no_process(tmp_path: Path) -> None:
    """PyAV's own way to side data frees a PNG profile's name twice; hence a process of its own."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for number in range(1, 9):
        data = encoded("PNG", number, icc_profile=profile)
        (tmp_path / f"{number}.png").write_bytes(data)
    code = (
        "import sys\n"
        "from tests.streamer.sources.reading import pictures_of\n"
        "for _ in range(20):\n"
        "    print(len(pictures_of(sys.argv[1])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout.split()) == (0, [b"8"] * 20), done.stderr


def test_side_data_of_an_unknown_type_is_passed_over(tmp_path: Path) -> None:
    """EXIF itself is side data that this PyAV has no name for, and so is any later type."""
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG", 7))
    with av.open(str(tmp_path / "a.jpg")) as container:
        frame = next(container.decode(video=0))
    reader = TurnReader()
    assert reader.turn_of(frame) == (True, True, True)
    assert reader.turn_of(av.VideoFrame(64, 48, "yuv420p")) is None


def gray_png_16_bit(path: Path) -> None:
    cv2.imwrite(str(path), np.full((48, 64), 102 * 257, np.uint16))


def colour_png_16_bit(path: Path) -> None:
    cv2.imwrite(str(path), np.full((48, 64, 3), 102 * 257, np.uint16))


def saved(mode: str, **options: object) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        picture = Image.new("RGB", (64, 48), (102, 102, 102)).convert(mode)
        picture.save(path, **options)  # type: ignore[arg-type]

    return save


def animated(path: Path) -> None:
    first, *others = [Image.new("RGB", (64, 48), (v, v, v)) for v in (102, 60, 250)]
    first.save(path, save_all=True, append_images=others)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("cmyk.jpg", saved("CMYK")),
        ("progressive.jpg", saved("RGB", progressive=True)),
        ("gray.jpg", saved("L")),
        ("16-bit.png", gray_png_16_bit),
        ("16-bit-colour.png", colour_png_16_bit),
        ("palette.png", saved("P")),
        ("gray-alpha.png", saved("LA")),
        ("alpha.png", saved("RGBA")),
        ("alpha.webp", saved("RGBA")),
        ("lossless.webp", saved("RGB", lossless=True)),
        ("animated.gif", animated),
        ("animated.png", animated),
        ("plain.gif", saved("P")),
        ("plain.avif", saved("RGB")),
        ("lzw.tif", saved("RGB", compression="tiff_lzw")),
        ("density.jpg", saved("RGB", dpi=(300, 600))),
        ("density.png", saved("RGB", dpi=(300, 600))),
        ("jpeg-inside.heic", saved("RGB", format="JPEG")),
    ],
)
def test_odd_pictures_are_shown(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    """In a folder an animation is its first picture."""
    write(tmp_path / name)
    (picture,) = read(tmp_path)
    assert isinstance(picture, Picture), picture
    assert picture.size_wh == (64, 48)
    assert np.abs(bgr(picture).astype(int) - 102).max() <= 6
    assert pictures_of(tmp_path / name)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_the_smallest_picture_is_one(tmp_path: Path, format_name: str) -> None:
    one = Image.new("RGB", (1, 1), (40, 90, 160))
    one.save(tmp_path / f"one.{format_name.lower()}", format_name)
    (picture,) = pictures_of(tmp_path)
    assert picture.size_wh == (1, 1)
    assert np.abs(bgr(picture)[0, 0].astype(int) - (160, 90, 40)).max() <= 4


def test_what_cannot_be_decoded_is_counted_and_the_rest_is_shown(tmp_path: Path) -> None:
    animated(tmp_path / "a.webp")
    saved("F")(tmp_path / "b.tif")
    (tmp_path / "c.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(500))
    (tmp_path / "d.png").write_bytes(encoded("PNG", 1)[:60])
    (tmp_path / "e.jpg").mkdir()
    (tmp_path / "f.png").write_bytes(encoded("PNG", 3))
    *damaged, picture = read(tmp_path)
    assert_shows(picture, encoded("PNG", 3))
    for each, name in zip(damaged, ("a.webp", "b.tif", "c.heic", "d.png", "e.jpg"), strict=True):
        assert isinstance(each, Damaged) and each.reason.startswith(f"{name}: ")
    for path in (tmp_path / "a.webp", tmp_path / "b.tif", tmp_path / "c.heic"):
        with pytest.raises(CodecError):
            read(path)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv420p10le", "nv12", "rgb24"])
@pytest.mark.parametrize("number", [0, 3, 8, 10, 14, 19, 255, 1000])
def test_colour_numbers_that_nobody_knows_are_not_said(pixel_format: str, number: int) -> None:
    frame = av.VideoFrame(64, 48, pixel_format)
    for plane in frame.planes:
        half = b"\x80\x80" if "10" not in pixel_format else b"\x00\x02"
        plane.update(half * (plane.buffer_size // 2))
    frame.colorspace = frame.color_range = frame.color_trc = frame.color_primaries = number
    (y, u, v), _, _ = PlaneMaker().planes(frame)
    assert (y.shape, u.shape, v.shape) == ((48, 64), (24, 32), (24, 32))
    assert np.abs(y.astype(int) - 128).max() <= 3

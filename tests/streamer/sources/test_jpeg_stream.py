"""JPEG pictures cut out of bytes: whatever stands between them, however the bytes come."""

import io
import random

import pytest
from PIL import Image

from streamer.sources.jpeg_stream import JpegStream
from tests.streamer.clips import moving_square


def jpeg(number: int, **options: object) -> bytes:
    data = io.BytesIO()
    Image.fromarray(moving_square(number)).save(data, "JPEG", **options)
    return data.getvalue()


def with_thumbnail(number: int) -> bytes:
    """A picture whose EXIF block holds a JPEG of its own."""
    whole, thumbnail = jpeg(number), jpeg(number + 1, quality=5)
    block = b"Exif\0\0" + thumbnail
    return whole[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2) + block + whole[2:]


PICTURES = [jpeg(0), jpeg(1, progressive=True), with_thumbnail(2), jpeg(3, restart_marker_rows=1)]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Feed the data in pieces; returns the pictures, the last one without its end too."""
    stream, found, at, n = JpegStream(), [], 0, 0
    while at < len(data):
        found += stream.feed(data[at : at + sizes[n % len(sizes)]])
        at, n = at + sizes[n % len(sizes)], n + 1
    rest = stream.rest()
    return found if rest is None else [*found, rest]


BETWEEN = [
    b"",
    b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n",
    b"\r\nContent-Type: image/jpeg\r\nContent-Length: 7\r\n\r\n",
    b"\0" * 40,
    b"\xff\xff\xff\r\n\xff\xd8 no picture \xff\r\n",
]


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("sizes", [[10**9], [1], [1460], [3, 1000, 1, 7]])
def test_pictures_are_found_whole(between: bytes, sizes: list[int]) -> None:
    assert cut(between.join(["", *PICTURES, ""][1:-1]) if not between else
               between + between.join(PICTURES) + between, sizes) == PICTURES  # fmt: skip


def test_nothing_gives_nothing() -> None:
    assert cut(b"", [1]) == []
    assert cut(b"--frame\r\n\xff\xd8", [1]) == []


def test_a_picture_that_breaks_off_costs_no_other() -> None:
    half = PICTURES[0][: len(PICTURES[0]) // 2]
    found = cut(BETWEEN[1].join([PICTURES[1], half, PICTURES[2], PICTURES[3]]), [1460])
    assert (found[0], found[2:]) == (PICTURES[1], PICTURES[2:])
    assert found[1].startswith(half)


def test_pictures_without_an_end_marker_are_given_when_the_next_begins() -> None:
    found = cut(BETWEEN[1].join(picture[:-2] for picture in PICTURES), [1460])
    assert len(found) == len(PICTURES)
    assert all(f.startswith(p[:-2]) for f, p in zip(found, PICTURES, strict=True))


def test_any_damage_ends_and_later_pictures_are_found_again() -> None:
    chance = random.Random(1)
    after = PICTURES[0] * (5 + 65536 // len(PICTURES[0]))  # a wrong length leads so far astray
    for _ in range(200):
        data = bytearray(b"".join(PICTURES))
        for _ in range(8):
            data[chance.randrange(len(data))] = chance.randrange(256)
        found = cut(bytes(data) + BETWEEN[1] + after, [1460])
        assert found[-5:] == PICTURES[:1] * 5


def test_what_is_no_picture_is_counted() -> None:
    stream = JpegStream()
    assert [stream.feed(b"<html>" * 100) for _ in range(10)] == [[]] * 10
    assert 5990 < stream.n_foreign_bytes <= 6000

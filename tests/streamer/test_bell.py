"""Bells wake a matcher, and nobody waits for one."""

from pathlib import Path

from streamer.bell import Bell, Ringer
from tests.streamer.ring_rig import Rings, picture


def test_a_bell_wakes_and_forgets(tmp_path: Path) -> None:
    path = tmp_path / "matcher.0.bell"
    ringer = Ringer(path)
    ringer.ring()  # nobody listens: no matter
    with Bell(path) as bell:
        assert not bell.wait(0)
        for _ in range(2000):
            ringer.ring()  # more than a socket holds: no matter
        assert bell.wait(5)
        assert not bell.wait(0)
        with Bell(path) as other:  # a successor takes the name over
            ringer.ring()
            assert other.wait(5)
    ringer.close()


def test_writing_rings_the_matchers_bell(rings: Rings, tmp_path: Path) -> None:
    with Bell(tmp_path / "bell") as bell:
        writer = rings.writer("door", 0, (64, 48), "newest", bell=tmp_path / "bell")
        assert not bell.wait(0)
        writer.write(picture(0))
        assert bell.wait(5)
        writer.close()

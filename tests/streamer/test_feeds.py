"""A matcher's feeds: what the daemon tells is the whole of them, and only what differs is done."""

from dataclasses import replace
from pathlib import Path

from pipeline.options import MatcherOptions
from streamer.catalog_watch import CatalogWatch
from streamer.child import ChildContext
from streamer.feeds import Feeds
from streamer.matcher_args import CameraFeed, MatcherArgs
from tests.fakes import write_scripted_catalog
from tests.streamer.test_catalog_watch import User


def feed(name: str, shelf: Path, life: int = 0) -> CameraFeed:
    return CameraFeed(name, shelf, life=life)


def ended(feeds: Feeds) -> list[tuple[str, int, str]]:
    """Take in what was told; returns what ends."""
    found = feeds.changes()
    for each, _ in found:
        each.close()
    return [(each.name, each.life, why) for each, why in found]


def test_feeds_come_with_their_catalog_and_end_by_their_life(tmp_path: Path) -> None:
    """1. One feed of two ends, one comes. 2. The other is told of in another life. 3. The one that
    came is taken back before it has its catalog."""
    shelf = write_scripted_catalog(tmp_path / "shelf")
    args = MatcherArgs(0, (feed("door", shelf), feed("till", shelf)), MatcherOptions())
    context = ChildContext("matcher.0", tmp_path)
    watch = CatalogWatch({"door": shelf, "till": shelf}, User(shelf))
    feeds = Feeds(context, args, watch)
    assert feeds.changes() == [] and [each.name for each in feeds.in_turn()] == ["door", "till"]

    hall = feed("hall", shelf, 1)
    context.tell(replace(args, feeds=(args.feeds[0], hall), gone={"till": "camera_paused"}))
    assert ended(feeds) == [("till", 0, "camera_paused")]
    assert list(feeds) == ["door"] and feeds.coming("hall") == hall
    feeds.begin("hall")
    assert list(feeds) == ["door", "hall"] and feeds.coming("hall") is None

    context.tell(replace(args, feeds=(feed("door", shelf, 2), hall)))
    assert ended(feeds) == [("door", 0, "camera_changed")]
    assert feeds.coming("door") == feed("door", shelf, 2)
    context.tell(replace(args, feeds=(feed("door", shelf, 2),)))
    context.tell(replace(args, feeds=(hall,)))
    assert feeds.changes() == [] and feeds.coming("door") is None
    assert [each.name for each in feeds.in_turn()] == ["hall"]
    feeds.close()

"""The feeds of a matcher process: whose turn it is, and which come and go while it works."""

from collections import deque
from collections.abc import Iterator, Mapping

from streamer.catalog_watch import CatalogWatch
from streamer.child import ChildContext
from streamer.feed import Feed
from streamer.matcher_args import CameraFeed, MatcherArgs, WhyGone


class Feeds(Mapping[str, Feed]):
    """The feeds that are worked on, by camera; those of whom the daemon tells wait for a catalog.

    What is told is the whole of what there shall be, not a step: however many changes come while
    the matcher is busy or starts again, only what differs then is done.
    """

    def __init__(self, context: ChildContext, args: MatcherArgs, watch: CatalogWatch) -> None:
        self._context, self._watch = context, watch
        self._by_name = {feed.name: Feed(context.run_dir, feed) for feed in args.feeds}
        self._turn = deque(self._by_name.values())
        self._coming: dict[str, CameraFeed] = {}
        self._said: tuple[dict[str, int], dict[str, str]] | None = None

    def __getitem__(self, camera: str) -> Feed:
        return self._by_name[camera]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def in_turn(self) -> Iterator[Feed]:
        """Yield each feed once, the one first that waited longest; stopped early, the next call
        begins with the feed after the last one."""
        for _ in range(len(self._turn)):
            feed = self._turn[0]
            self._turn.rotate(-1)
            yield feed

    def changes(self) -> list[tuple[Feed, WhyGone]]:
        """Take in what the daemon told; returns the feeds that are to be ended, each with why."""
        args = self._context.told()
        if not isinstance(args, MatcherArgs):
            return []
        wanted = {feed.name: feed for feed in args.feeds}
        life = {name: feed.life for name, feed in wanted.items()}
        ended = [feed for feed in self._by_name.values() if life.get(feed.name) != feed.life]
        for feed in ended:
            del self._by_name[feed.name]
            self._turn.remove(feed)
            self._watch.remove(feed.name)
        for name in [name for name, old in self._coming.items() if wanted.get(name) != old]:
            del self._coming[name]
            self._watch.remove(name)
        for name, new in wanted.items():
            if name not in self._by_name and name not in self._coming:
                self._coming[name] = new
                self._watch.add(name, new.catalog)
        return [(feed, args.gone.get(feed.name, "camera_changed")) for feed in ended]

    def coming(self, camera: str) -> CameraFeed | None:
        """Return a feed that waits for its catalog; None of another."""
        return self._coming.get(camera)

    def begin(self, camera: str) -> None:
        """A feed that waited has its catalog: it is worked on from now on."""
        begun = Feed(self._context.run_dir, self._coming.pop(camera))
        self._by_name[camera] = begun
        self._turn.append(begun)

    def say(self) -> None:
        """Tell the daemon which feeds are worked on and which wait for what, when it changes."""
        lives = {name: feed.life for name, feed in self._by_name.items()}
        waiting = {name: self._watch.trouble(name) or "" for name in self._coming}
        if (lives, waiting) != self._said:
            self._said = lives, waiting
            self._context.note("feeds", lives=lives, waiting=waiting)

    def close(self) -> None:
        for feed in self._by_name.values():
            feed.close()

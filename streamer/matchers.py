"""The matchers of a run: which cameras each is told of, and which of them it works on."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from streamer.child import Note, WorkerState
from streamer.config import AppConfig, CameraOptions
from streamer.dealing import least_loaded
from streamer.matcher_args import CameraFeed, MatcherArgs, WhyGone
from streamer.process_table import camera_feed, matcher_spec, matcher_worker
from streamer.reporting import Log
from streamer.supervisor import Supervisor
from streamer.worker_states import WorkerStates

log = Log("matchers")


class Matchers:
    """Deals cameras out while a run goes on, and tells the matchers of their feeds.

    A matcher is told the whole of its feeds each time; one that is started again has them as well.
    """

    def __init__(
        self,
        config: AppConfig,
        creator: str,
        supervisor: Supervisor,
        states: WorkerStates,
        loads: Callable[[], Mapping[str, float]],
    ) -> None:
        """loads: what is known of the cameras' loads, by camera."""
        self._config, self._creator = config, creator
        self._supervisor, self._states, self._loads = supervisor, states, loads
        self._feeds: dict[str, tuple[int, CameraFeed]] = {}  # by camera, with its matcher
        self._gone: dict[str, tuple[int, WhyGone]] = {}  # those on their way out
        self._lives: dict[str, Mapping[str, int]] = {}  # by worker: the feeds that it works on
        self._trouble: dict[str, Mapping[str, str]] = {}

    def take(self, index: int, name: str, options: CameraOptions, life: int) -> None:
        """Note that a matcher has been told of a camera."""
        self._feeds[name] = index, camera_feed(self._config, name, options, life)

    def choose(self, name: str, options: CameraOptions, life: int) -> None:
        """Tell the matcher that has the least to do of a camera; one that is missing is started."""
        hands: list[list[str]] = [[] for _ in range(self._config.matchers)]
        for each, (index, _) in self._feeds.items():
            hands[index].append(each)
        index = least_loaded(hands, self._loads())
        self.take(index, name, options, life)
        worker = matcher_worker(index)
        log.info("camera dealt out", worker=worker, camera=name)
        if self._supervisor.has(worker):
            self._tell(index)
            return
        self._states.say(worker, WorkerState.STARTING)
        is_live = options.searched.is_live
        feeds = (self._feeds[name][1],)
        self._supervisor.add(matcher_spec(self._config, index, feeds, self._creator, is_live))

    def drop(self, name: str, why: WhyGone) -> None:
        """Tell a camera's matcher to let go of it."""
        index, _ = self._feeds[name]
        self._gone[name] = index, why
        self._tell(index)

    def forget(self, name: str) -> None:
        """A camera's matcher has let go of it."""
        self._feeds.pop(name, None)
        self._gone.pop(name, None)

    def index_of(self, name: str) -> int:
        return self._feeds[name][0]

    def worker_of(self, name: str) -> str | None:
        """Return a camera's matcher; None of one that has none now."""
        return matcher_worker(self._feeds[name][0]) if name in self._feeds else None

    def has_taken(self, name: str, life: int) -> bool:
        """Whether the camera's matcher, as it runs now, works on this life of its feed."""
        lives = self._lives.get(self.worker_of(name) or "", {})
        return lives.get(name) == life

    def trouble(self, name: str) -> str | None:
        """Return why a camera's matcher cannot work on it yet; None where it says nothing."""
        return self._trouble.get(self.worker_of(name) or "", {}).get(name) or None

    def hear(self, worker: str, note: Note) -> None:
        """A matcher says which feeds it works on, and which wait."""
        lives, waiting = note.content["lives"], note.content["waiting"]
        assert isinstance(lives, dict) and isinstance(waiting, dict)
        self._lives[worker], self._trouble[worker] = lives, waiting

    def hear_exit(self, worker: str) -> None:
        """A matcher's process is gone: it works on nothing."""
        self._lives.pop(worker, None)
        self._trouble.pop(worker, None)

    def _tell(self, index: int) -> None:
        worker = matcher_worker(index)
        args = self._supervisor.args(worker)
        assert isinstance(args, MatcherArgs)
        feeds = tuple(
            feed
            for name, (at, feed) in self._feeds.items()
            if at == index and name not in self._gone
        )
        gone = {name: why for name, (at, why) in self._gone.items() if at == index}
        self._supervisor.update(worker, replace(args, feeds=feeds, gone=gone))

"""What the retained topics must say now, read from the journal: only what changed is published."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

from streamer.reporting import Log
from streamer.sinks.journal_tail import JournalTail
from streamer.sinks.mqtt_topics import Topics, retained
from streamer.sinks.options import MqttOptions
from streamer.sinks.position import write_in_one_step

_EVERY_S = 0.2
_MOST_ITEMS = 2000  # of all cameras; further ones have events and no topic of their own
_MOST_BYTES = 4 * 2**20
_log = Log("sink")


class MqttStates:
    """The retained topics of one broker. They tell how things stand, not what happened meanwhile:
    after an outage the newest state comes first and the missed events follow."""

    def __init__(self, options: MqttOptions, tail: JournalTail, items_path: Path) -> None:
        """items_path: keeps which items were ever seen, so that they can be told gone."""
        self._options = options
        self._topics = Topics(options.topic_prefix)
        self._tail = tail
        self._items_path = items_path
        self._known = _read_items(items_path)
        self._published: dict[str, str] = {}
        self._due_s = 0.0
        self._version = -1  # of the journal, when it was last looked at
        self._is_full = False

    def forget_published(self) -> None:
        """The connection is new: the broker may have lost what it retained."""
        self._published.clear()
        self._due_s, self._version = 0.0, -1

    def changes(self) -> list[tuple[str, str]]:
        """Return topics and texts that are to be published now; looks at most five times a
        second."""
        if time.monotonic() < self._due_s:
            return []
        self._due_s = time.monotonic() + _EVERY_S
        try:
            version = self._tail.version()
            if version == self._version:
                return []
            opened = [m for m in self._tail.open_sightings() if self._options.wants_match(m)]
            cameras = {
                camera: state
                for camera, state in self._tail.camera_states().items()
                if not self._options.cameras or camera in self._options.cameras
            }
        except sqlite3.Error:
            return []  # the outbox says so
        self._version = version
        self._learn({(m["camera"], m["item_id"]): m["label"] for m in opened})
        prefix = self._options.discovery_prefix if self._options.home_assistant else None
        found = [
            (topic, text)
            for topic, text in retained(prefix, self._topics, cameras, opened, self._known)
            if self._published.get(topic) != text
        ]
        self._published.update(found)
        return found

    def _learn(self, labels: dict[tuple[str, str], str]) -> None:
        new = {key: label for key, label in labels.items() if key not in self._known}
        room = _MOST_ITEMS - len(self._known)
        if len(new) > room and not self._is_full:
            self._is_full = True
            _log.warning("no more items get a topic of their own", most=_MOST_ITEMS)
        new = dict(list(new.items())[:room])
        if new:
            self._known |= new
            items = [[camera, item_id, label] for (camera, item_id), label in self._known.items()]
            try:
                write_in_one_step(self._items_path, json.dumps(items) + "\n", is_sync=False)
            except OSError as error:
                _log.warning("the items seen cannot be kept", file=self._items_path, cause=error)


def _read_items(path: Path) -> dict[tuple[str, str], str]:
    """Return the label of each camera's items; nothing, told in the log, of an odd file."""
    try:
        with path.open("rb") as file:
            items = json.loads(file.read(_MOST_BYTES))
        return {(str(camera), str(item_id)): str(label) for camera, item_id, label in items}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        _log.warning("the items seen cannot be read", file=path, cause=error)
        return {}

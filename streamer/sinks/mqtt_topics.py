"""Names of MQTT topics, and what Home Assistant is told. Pure: no client, no clock.

magpie/available               online | offline (also as the last will)
magpie/events                  each event as JSON, and gaps
magpie/<camera>/status         running, reconnecting, …
magpie/<camera>/<item>         how many of the item are in view
magpie/<camera>/<item>/attributes   the best of them as JSON
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from streamer.version import version

_RESERVED = ("status",)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics below one prefix."""

    prefix: str

    @property
    def available(self) -> str:
        return f"{self.prefix}/available"

    @property
    def events(self) -> str:
        return f"{self.prefix}/events"

    def camera_status(self, camera: str) -> str:
        return f"{self.prefix}/{camera}/status"

    def item(self, camera: str, item_id: str) -> str:
        return f"{self.prefix}/{camera}/{item_level(item_id)}"

    def attributes(self, camera: str, item_id: str) -> str:
        return f"{self.item(camera, item_id)}/attributes"


def item_level(item_id: str) -> str:
    """Return an item's id as one level of a topic: percent-encoded, `/`, `+` and `#` too."""
    level = quote(item_id, safe="")
    return f"%{ord(level[0]):02X}{level[1:]}" if level in _RESERVED else level


def attributes_text(match: dict[str, Any]) -> str:
    """Return what is told of the best sighting of an item."""
    keys = ("item_id", "label", "tier", "probability", "sighting_id", "box_normalized")
    told = {key: match[key] for key in keys}
    return json.dumps(told | {"captured": match["time"]["captured"]}, ensure_ascii=False)


def item_announcement(
    discovery_prefix: str, topics: Topics, camera: str, item_id: str, label: str
) -> tuple[str, str]:
    """Return topic and JSON by which Home Assistant makes an occupancy sensor of an item."""
    entity = f"{_slug(item_id)}_{_digest(item_id)}"
    return _announcement(
        discovery_prefix,
        topics,
        camera,
        entity,
        {
            "name": label or item_id,
            "device_class": "occupancy",
            "state_topic": topics.item(camera, item_id),
            "value_template": "{{ 'ON' if value | int(0) > 0 else 'OFF' }}",
            "json_attributes_topic": topics.attributes(camera, item_id),
            "availability_mode": "all",
            "availability": [
                {"topic": topics.available},
                {
                    "topic": topics.camera_status(camera),
                    "value_template": "{{ 'online' if value == 'running' else 'offline' }}",
                },
            ],
        },
    )


def camera_announcement(discovery_prefix: str, topics: Topics, camera: str) -> tuple[str, str]:
    """Return topic and JSON by which Home Assistant makes a connectivity sensor of a camera."""
    return _announcement(
        discovery_prefix,
        topics,
        camera,
        "status",
        {
            "name": "Camera",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": topics.camera_status(camera),
            "value_template": "{{ 'ON' if value == 'running' else 'OFF' }}",
            "availability": [{"topic": topics.available}],
        },
    )


def _announcement(
    discovery_prefix: str, topics: Topics, camera: str, entity: str, config: dict[str, Any]
) -> tuple[str, str]:
    node = f"{_slug(topics.prefix)}_{camera}"
    whole = config | {
        "unique_id": f"{node}_{entity}",
        "default_entity_id": f"binary_sensor.{_slug(node)}_{entity}",
        "device": {
            "identifiers": [node],
            "name": f"Magpie {camera}",
            "manufacturer": "Magpie",
            "model": "camera",
            "sw_version": version(),
        },
        "origin": {"name": "Magpie", "sw_version": version()},
    }
    topic = f"{discovery_prefix}/binary_sensor/{node}/{entity}/config"
    return topic, json.dumps(whole, ensure_ascii=False)


def _slug(text: str) -> str:
    """Return a text as Home Assistant's ids may be."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:48].lower() or "item"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]


def retained(
    discovery_prefix: str | None,
    topics: Topics,
    cameras: dict[str, str],
    open_matches: list[dict[str, Any]],
    known: dict[tuple[str, str], str],
) -> Iterator[tuple[str, str]]:
    """Yield every topic that is retained and its text, as things stand.

    discovery_prefix: None without Home Assistant. cameras: their states. open_matches: the last
    event of each open sighting. known: label of each camera's items that were ever seen, of those
    in view too.
    """
    for camera, state in cameras.items():
        if discovery_prefix is not None:
            yield camera_announcement(discovery_prefix, topics, camera)
        yield topics.camera_status(camera), state
    in_view: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for match in open_matches:
        in_view.setdefault((match["camera"], match["item_id"]), []).append(match)
    for (camera, item_id), label in known.items():
        if discovery_prefix is not None:
            yield item_announcement(discovery_prefix, topics, camera, item_id, label)
        matches = in_view.get((camera, item_id), [])
        if matches:
            best = max(matches, key=lambda match: match["probability"])
            yield topics.attributes(camera, item_id), attributes_text(best)
        yield topics.item(camera, item_id), str(len(matches))

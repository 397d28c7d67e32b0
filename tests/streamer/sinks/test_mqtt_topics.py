"""MQTT topics: whatever an item is called, it is one level, and its own."""

import pytest

from streamer.sinks.mqtt_topics import Topics, item_announcement, item_level


@pytest.mark.parametrize(
    ("item_id", "level"),
    [
        ("tea", "tea"),
        ("tea/green", "tea%2Fgreen"),
        ("#1 + more", "%231%20%2B%20more"),
        ("status", "%73tatus"),
        ("thé\0", "th%C3%A9%00"),
    ],
)
def test_item_is_one_level_of_a_topic(item_id: str, level: str) -> None:
    assert item_level(item_id) == level
    assert Topics("home/magpie").item("door", item_id) == f"home/magpie/door/{level}"


def test_items_that_differ_in_odd_signs_are_different_entities() -> None:
    topics = Topics("magpie")
    one, _ = item_announcement("homeassistant", topics, "door", "tea+", "Tea")
    other, _ = item_announcement("homeassistant", topics, "door", "tea-", "Tea")
    assert one != other
    for topic in (one, other):
        assert all(part.replace("_", "").isalnum() for part in topic.split("/"))

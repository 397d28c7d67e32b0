"""Asking a catalog about pictures: order, unreadable ones, boxes in the photo's pixels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from catalog_tools.query import BATCH, SentPicture, Wishes, query_pictures
from pipeline.catalog import Catalog
from pipeline.types import ItemId, PictureResult, Ranked, Tier


@dataclass
class MeanMatcher:
    """Finds the item `<mean of blue>` in the whole picture; notes the batches it was given."""

    batches: list[int]

    def match_pictures(
        self, images_bgr: Sequence[np.ndarray], catalog: Any, k: int, tie_epsilon: float
    ) -> list[Any]:
        self.batches.append(len(images_bgr))
        return [self._match(image, k) for image in images_bgr]

    def _match(self, image: np.ndarray, k: int) -> Any:
        height, width = image.shape[:2]
        match = SimpleNamespace(
            item_id=ItemId(f"{image[..., 0].mean():.0f}"),
            label="blue",
            tier=Tier.EXACT,
            probability=np.float32(0.987654),
            similarity=np.float32(0.5),
            inliers=np.int64(31),
            box_xyxy=np.array([0, 0, width, height], np.float32),
            outline=np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32),
            angle_deg=-0.04,
            view_index=-1,
        )
        best = Ranked(match.item_id, "blue", 0.9, 0.5)
        return SimpleNamespace(matches=(match,), ranked=(best,) * k)


def write_pictures(folder: Path, n: int, size_wh: tuple[int, int] = (30, 20)) -> list[str]:
    paths = []
    for blue in range(n):
        path = folder / f"{blue}.png"
        cv2.imwrite(str(path), np.full((size_wh[1], size_wh[0], 3), (blue, 0, 0), np.uint8))
        paths.append(str(path))
    return paths


def ask(images: Sequence[str], k: int = 5) -> tuple[list[dict[str, Any]], list[int]]:
    matcher = MeanMatcher([])
    catalog: Catalog = SimpleNamespace()  # type: ignore[assignment]
    answers = [answer.to_json() for answer in query_pictures(images, catalog, matcher, Wishes(k))]
    json.dumps(answers)
    return answers, matcher.batches


def test_answers_come_in_the_given_order_with_the_unreadable_among_them(tmp_path: Path) -> None:
    images = write_pictures(tmp_path, 50)
    (tmp_path / "text.jpg").write_text("no picture")
    images[7:7] = [str(tmp_path / "missing.jpg"), str(tmp_path / "text.jpg")]
    images.append(images[0])
    answers, batches = ask(images)
    assert [answer["image"] for answer in answers] == images
    assert answers[7] == {"image": images[7], "error": "no such file"}
    assert answers[8] == {"image": images[8], "error": "is no picture of a known format"}
    for answer in answers[:7] + answers[9:]:
        assert answer["matches"][0]["item_id"] == Path(answer["image"]).stem
    assert sum(batches) == 51 and max(batches) <= BATCH


def test_the_fields_of_an_answer(tmp_path: Path) -> None:
    ((answer,), _) = ask(write_pictures(tmp_path, 1), k=2)
    assert list(answer) == ["image", "size_wh", "matches", "ranked"]
    assert answer["matches"] == [
        {
            "item_id": "0",
            "label": "blue",
            "tier": "exact",
            "probability": 0.9877,
            "percent": 98.8,
            "similarity": 0.5,
            "inliers": 31,
            "box_xyxy": [0.0, 0.0, 30.0, 20.0],
            "outline": [[0.0, 0.0], [30.0, 0.0], [30.0, 20.0], [0.0, 20.0]],
            "angle_deg": -0.0,
            "picture": None,
        }
    ]
    ranked = {"item_id": "0", "label": "blue", "probability": 0.9, "percent": 90.0}
    assert answer["ranked"] == [{**ranked, "similarity": 0.5, "inliers": 0, "picture": None}] * 2


def test_boxes_are_in_the_photos_own_pixels(tmp_path: Path) -> None:
    ((answer,), _) = ask(write_pictures(tmp_path, 1, size_wh=(4000, 3000)))
    assert answer["matches"][0]["box_xyxy"] == [0, 0, 4000, 3000]


def test_only_unreadable_pictures(tmp_path: Path) -> None:
    answers, batches = ask(["/nowhere/a.jpg", str(tmp_path)])
    assert [answer["error"] for answer in answers] == ["no such file", "is a folder"]
    assert batches == []


def test_answers_stream_out(tmp_path: Path) -> None:
    images = write_pictures(tmp_path, 3)

    def endless() -> Any:
        while True:
            yield from images

    catalog: Catalog = SimpleNamespace()  # type: ignore[assignment]
    answers = query_pictures(endless(), catalog, MeanMatcher([]))
    assert [next(answers).image for _ in range(40)] == (images * 14)[:40]
    answers.close()


def test_a_failing_matcher_is_not_hidden(tmp_path: Path) -> None:
    class Failing:
        def match_pictures(self, *_: Any, **__: Any) -> list[Any]:
            raise RuntimeError("broken")

    catalog: Catalog = SimpleNamespace()  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="broken"):
        list(query_pictures(write_pictures(tmp_path, 1), catalog, Failing()))


def test_what_is_asked_for_is_what_is_told(tmp_path: Path) -> None:
    """Three matches of two items, the reference picture of each; what is unlikely is left out."""
    records = [{"image": f"{n}.jpg", "sha256": f"{n}" * 64, "size_wh": (9, 9)} for n in range(2)]
    (tmp_path / "pictures.json").write_text(json.dumps(records))
    catalog: Any = SimpleNamespace(
        directory=tmp_path, folder=tmp_path, view_picture=np.array([0, 0, 1])
    )
    box = np.array([0, 0, 9, 9], np.float32)
    found = [
        SimpleNamespace(
            item_id=ItemId(item), label=item, tier=Tier.SIMILAR, probability=probability,
            similarity=0.5, inliers=9, box_xyxy=box, outline=None, angle_deg=0.0, view_index=view,
        )
        for item, probability, view in (("a", 0.9, 2), ("a", 0.8, 0), ("b", 0.7, 1), ("c", 0.2, 0))
    ]  # fmt: skip
    ranked = (Ranked(ItemId("a"), "a", 0.9, 0.5, 2), Ranked(ItemId("c"), "c", 0.1, 0.5, 0))

    class Matcher:
        def match_pictures(self, images_bgr: Sequence[Any], *_: Any, **asked: Any) -> list[Any]:
            assert asked == {"k": 7, "tie_epsilon": 0.1}
            return [PictureResult(tuple(found), ranked) for _ in images_bgr]  # type: ignore[arg-type]

    wishes = Wishes(k=7, min_probability=0.5, one_per_item=True, tie_epsilon=0.1)
    data = Path(write_pictures(tmp_path, 1)[0]).read_bytes()
    images = ["https://shop.test/a.png", SentPicture("sent.png", lambda: data)]
    for answer in query_pictures(images, catalog, Matcher(), wishes, lambda _: data):
        assert [(m["item_id"], m["picture"]["image"]) for m in answer.matches] == [
            ("a", "1.jpg"),
            ("b", "0.jpg"),
        ]
        assert [one["picture"]["sha256"] for one in answer.ranked] == ["1" * 64]

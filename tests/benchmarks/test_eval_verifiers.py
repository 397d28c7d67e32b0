"""The table that compares verifiers."""

from benchmarks.eval_verifiers import VERIFIERS, score_answers, table_rows
from catalog_tools.evaluation.scores import Labelled
from catalog_tools.query import Answer
from pipeline.options import VerifyOptions


def ranked(image: str, item_id: str, probability: float) -> Answer:
    return Answer(image, (), ({"item_id": item_id, "probability": probability},), None, (10, 10))


def test_recall_at_a_precision_follows_from_the_order_of_the_answers() -> None:
    labels = [Labelled("1", "a"), Labelled("2", "b"), Labelled("3", "c"), Labelled("4", None)]
    answers = [ranked("1", "a", 0.9), ranked("2", "b", 0.6), ranked("3", "x", 0.3)]
    figures = score_answers(labels, [*answers, ranked("4", "a", 0.5)])
    assert figures["top_1"] == round(2 / 3, 4) and figures["n_photos"] == 4
    assert figures["recall_at_precision_0.97"] == round(2 / 3, 4)
    (row,) = table_rows({"lightglue": figures | {"ms_a_photo": 12.3}})
    assert row[0] == "lightglue: top-1" and "12 ms" in row[2]


def test_every_verifier_of_the_options_is_compared() -> None:
    made = [VerifyOptions.model_validate(changed) for changed in VERIFIERS.values()]
    assert {options.method for options in made} == {"rootsift+lightglue", "rootsift", "orb_ssim"}

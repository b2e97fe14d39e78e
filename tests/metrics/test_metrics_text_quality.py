import random

import numpy as np
import pytest

from rsmoe.data.sample import Sample
from rsmoe.metrics.captions.object_words import OBJECTS, ObjectWords
from rsmoe.metrics.captions.text_quality import text_quality_tally
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import score


def quality(texts: list[str], present: list[list[str] | None] | None = None) -> dict[str, float]:
    known = [None] * len(texts) if present is None else present
    return text_quality_tally(texts, known, objects=ObjectWords(OBJECTS)).values()


def test_length_vocabulary_and_distinct() -> None:
    scores = quality(["a red road .", "a blue road"])
    assert (scores["length"], scores["vocabulary"], scores["n"], scores["parse_failures"]) == (3, 4, 2, 0)
    assert scores["distinct1"] == pytest.approx(4 / 6)
    assert scores["distinct2"] == pytest.approx(4 / 4)
    assert scores["distinct4"] == 0.0  # there is none
    assert scores["distinct_texts"] == 1.0
    assert "chair_i" not in scores


def test_one_sentence_for_everything_is_exposed() -> None:
    assert quality(["many trees near a road"] * 10)["distinct_texts"] == 0.1


def test_repetition_within_a_text() -> None:
    loop = "a car on the road a car on the road"  # seven 4-grams, five different ones
    assert quality([loop])["repetition"] == pytest.approx(2 / 7)
    assert quality([loop, "a car on the road"])["repetition"] == pytest.approx(1 / 7)
    assert quality(["a a a"])["repetition"] == 0.0


def test_empty_texts_count() -> None:
    scores = quality(["", " . "], [["ship"], None])
    assert (scores["length"], scores["n"], scores["parse_failures"], scores["repetition"]) == (0, 2, 2, 0)
    assert (scores["chair_i"], scores["chair_s"], scores["object_recall"], scores["n/objects"]) == (0, 0, 0, 1)


def test_hallucinated_objects() -> None:
    texts = ["two planes and a boat near the airport", "cars on a bridge", "tennis courts", "a truck"]
    present = [["airplane", "airport"], ["vehicle", "bridge"], ["tennis court", "ship"], None]
    scores = quality(texts, present)
    assert scores["chair_i"] == pytest.approx(1 / 6)  # the boat, of six mentions
    assert scores["chair_s"] == pytest.approx(1 / 3)
    assert scores["object_recall"] == pytest.approx(5 / 6)
    assert (scores["n/objects"], scores["n"]) == (3, 4)


def test_perfect_and_worst() -> None:
    right = quality(["ships in a harbor"], [["ship", "harbor"]])
    assert (right["chair_i"], right["chair_s"], right["object_recall"]) == (0, 0, 1)
    wrong = quality(["ships in a harbor"], [["airplane"]])
    assert (wrong["chair_i"], wrong["chair_s"], wrong["object_recall"]) == (1, 1, 0)


def test_the_longest_name_wins() -> None:
    find = ObjectWords({"court": ("court",), "tennis court": ("tennis court",)})
    assert find("Two tennis courts beside a court.") == ["tennis court", "court"]
    assert ObjectWords(OBJECTS)("storage tanks, a football field and aircraft") == [
        "storage tank",
        "soccer field",
        "airplane",
    ]
    assert find("courtyard") == []


def test_one_name_for_two_classes_is_an_error() -> None:
    with pytest.raises(ValueError, match="names both"):
        ObjectWords({"ship": ("boat",), "yacht": ("boats",)})


def test_what_no_sum_gives_has_no_interval() -> None:
    tally = text_quality_tally(["a ship", "a ship"], [["ship"], None], objects=ObjectWords(OBJECTS))
    drawn = tally.finish(np.stack([tally.rows.sum(axis=0), 2 * tally.rows[0]]))
    assert drawn["length"].tolist() == [2, 2] and drawn["object_recall"].tolist() == [1, 1]
    assert np.isnan(drawn["distinct1"]).all() and tally.values()["distinct1"] == 0.5


def test_no_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="no text"):
        quality([])


def test_order_of_texts_changes_nothing() -> None:
    rng = random.Random(0)
    words = "a ship plane near the road car bridge red".split()
    rows = [(" ".join(rng.choices(words, k=9)), rng.sample(["ship", "airplane", "vehicle"], 2)) for _ in range(20)]
    shuffled = rng.sample(rows, len(rows))
    first = quality([text for text, _ in rows], [names for _, names in rows])
    second = quality([text for text, _ in shuffled], [names[::-1] for _, names in shuffled])
    assert first == pytest.approx(second, abs=1e-12)


def test_the_scorer_prints_the_same_numbers_and_knows_objects_by_the_labels_of_a_sample() -> None:
    texts = {"a": ("a ship near a bridge", ("ship",)), "b": ("a ship .", ("ship", "bridge")), "c": ("trees", ("shed",))}
    image = np.zeros((8, 8, 3), np.uint8)
    samples = [
        Sample(
            id=i, images=(image,), instruction="describe", responses=("x",), task="caption", source="s", labels=labels
        )
        for i, (_, labels) in texts.items()
    ]
    predictions = [Prediction(id=i, task="caption", text=text) for i, (text, _) in texts.items()]
    options = {"protocol_prefix": "", "split": "test", "draws": 50}
    results = score(samples, predictions, protocols={"caption": "text/quality@1"}, **options)
    found = {r.metric: r for r in results}
    known = [list(labels) if "shed" not in labels else None for _, labels in texts.values()]
    expected = quality([text for text, _ in texts.values()], known)
    for name in ("length", "vocabulary", "distinct2", "repetition", "chair_i", "chair_s", "object_recall"):
        assert found[f"caption/{name}"].value == pytest.approx(expected[name]), name
    assert {r.protocol for r in results} == {"text/quality@1"} and found["caption/chair_s"].n == 3
    assert found["caption/length"].low is not None and found["caption/vocabulary"].low is None

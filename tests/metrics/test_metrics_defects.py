"""One test for each known defect of published scorers and releases: it fails where the defect is put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.models import codecs, collate, requests, tiny_model

from rsmoe.data.boxes import write
from rsmoe.data.collate import Collate
from rsmoe.data.overlap.fingerprint import fingerprint
from rsmoe.data.overlap.near_duplicates import NearDuplicates
from rsmoe.data.sample import Sample
from rsmoe.data.text_codec import TextCodec
from rsmoe.evaluation.answer import answer_batch
from rsmoe.evaluation.baselines import Baselines
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import score

PICTURE = np.zeros((8, 8, 3), dtype=np.uint8)


def sample(name: str, task: str, *responses: str, **extra: Any) -> Sample:
    plain = {"images": (PICTURE,), "instruction": "what is it?", "source": "toy"}
    return Sample(id=name, task=task, responses=responses, **(plain | extra))


def numbers(pairs: list[tuple[Sample, str]], protocol: str, **kwargs: Any) -> dict[str, float]:
    samples = [s for s, _ in pairs]
    given = [Prediction(id=s.id, task=s.task, text=text) for s, text in pairs]
    chosen = {samples[0].task: protocol}
    results = score(samples, given, protocol_prefix="", split="test", protocols=chosen, **kwargs)
    return {r.metric.split("/", 1)[1]: r.value for r in results}


# ---- 1. one pixel added to boxes in [0, 1] (LHRS-Bot, main_vg.py)


def random_boxes(n: int, side: float) -> np.ndarray:
    rng = np.random.default_rng(int(1000 * side))
    size = rng.uniform(0, side, (n, 2))
    corner = rng.uniform(0, 1, (n, 2)) * (1 - size)
    return np.concatenate([corner, corner + size], axis=1) * 800


@pytest.mark.parametrize("side", [0.1, 0.2, 0.4])
def test_random_boxes_score_below_one_percent(side: float) -> None:
    n = 600
    boxes = random_boxes(2 * n, side)
    meta = {"box_convention": "lhrs", "size_px": (800, 800)}
    pairs = [
        (
            sample(str(i), "ground", "x", boxes_px=boxes[None, i], meta=meta),
            write(boxes[None, n + i], convention="lhrs", size_px=(800, 800)),
        )
        for i in range(n)
    ]
    assert numbers(pairs, "ground/hbb@1")["acc@0.5"] < 1.0
    assert numbers(pairs, "ground/legacy-plus-one@1")["acc@0.5"] > 20.0, "the defect, under its own name"


# ---- 2. substring accuracy (RSEvalKit)


@pytest.mark.parametrize("protocol", ["vqa/exact@1", "vqa/rsvqa@1", "vqa/free-text@1"])
def test_a_part_of_the_answer_is_wrong(protocol: str) -> None:
    wrong = [("", "airport"), ("a", "airport"), ("port", "airport"), ("know", "no"), ("no", "know"), ("1", "10")]
    pairs = [(sample(str(i), "vqa", answer), text) for i, (text, answer) in enumerate(wrong)]
    found = numbers(pairs, protocol)
    assert found.get("overall", found.get("normalised")) == 0.0
    whole = numbers([(s, s.responses[0]) for s, _ in pairs], protocol)
    assert whole.get("overall", whole.get("normalised")) == 100.0


# ---- 3. a normaliser that deletes articles, and option A with them (LHRS-Bench)


@pytest.mark.parametrize("protocol", ["vqa/exact@1", "vqa/multiple-choice@1"])
def test_option_a_is_no_article(protocol: str) -> None:
    options = {"A": "road", "B": "river"}
    for text, right in (
        ("A", True),
        ("A.", True),
        ("a", True),
        ("", False),
        ("the", False),
        ("an", False),
        ("B", False),
    ):
        pair = (sample("q", "vqa", "A.", meta={"options": options, "answer": "A"}), text)
        assert numbers([pair], protocol)["overall"] == 100.0 * right, text


def test_the_first_capital_letter_is_no_answer() -> None:
    """RSEvalKit takes the first of "ABCDE" in the text: "Answer: B" is A there."""
    options = {"A": "road", "B": "river"}
    asked = sample("q", "vqa", "B", meta={"options": options})
    assert numbers([(asked, "Answer: B")], "vqa/multiple-choice@1")["overall"] == 100.0
    for text in ("An image of a Big river", "Both", "A road, B river"):
        assert numbers([(asked, text)], "vqa/multiple-choice@1")["overall"] == 0.0, text


# ---- 4. failures that leave the denominator (RS-RAG, LHRS-Bot)


def test_empty_predictions_stay_in_the_denominator() -> None:
    meta = {"box_convention": "pixel_xyxy", "size_px": (9, 9)}
    kinds: dict[str, list[tuple[Sample, str]]] = {
        "caption/coco-whitespace@1": [
            (sample(f"c{i}", "caption", f"a lake of kind {i} in the wood"), f"a lake of kind {i} in the wood")
            for i in range(6)
        ],
        "vqa/exact@1": [(sample(f"v{i}", "vqa", "yes"), "yes") for i in range(6)],
        "ground/hbb@1": [
            (sample(f"g{i}", "ground", "x", boxes_px=np.array([[0, 0, 5, 5.0]]), meta=meta), "[0, 0, 5, 5]")
            for i in range(6)
        ],
        "change/presence@1": [(sample(f"p{i}", "change_vqa", "Yes"), "yes") for i in range(6)],
    }
    main = {"caption": "rouge_l", "vqa": "overall", "ground": "acc@0.5", "change": "accuracy"}
    for protocol, pairs in kinds.items():
        half = [(s, text if i < 3 else "") for i, (s, text) in enumerate(pairs)]
        name = main[protocol.split("/")[0]]
        assert numbers(pairs, protocol)[name] == pytest.approx(100.0, abs=1e-4), protocol
        assert numbers(half, protocol)[name] == pytest.approx(50.0, abs=1e-4), protocol
        given = [Prediction(id=s.id, task=s.task, text=text) for s, text in half]
        rows = score([s for s, _ in half], given, protocol_prefix="", split="t", protocols={given[0].task: protocol})
        assert {r.n for r in rows if r.metric.endswith(name)} == {6}
        assert {r.parse_failures for r in rows if r.metric.endswith(name)} == {3}


# ---- 5. precision called mAP, duplicates rewarded (EarthDial)


def test_average_precision_knows_recall_and_counts_a_duplicate_as_wrong() -> None:
    meta = {"box_convention": "pixel_xyxy", "size_px": (100, 100)}
    two = sample("g", "ground", "x", boxes_px=np.array([[0, 0, 20, 20], [60, 60, 90, 90.0]]), meta=meta)
    once, both = "[0, 0, 20, 20]", "[0, 0, 20, 20] [60, 60, 90, 90]"
    found = {text: numbers([(two, text)], "ground/hbb@1")["ap@0.5"] for text in (once, both, " ".join([once] * 10))}
    assert found[both] == 100.0
    assert found[once] == 50.0, "precision is 100 %, but one of two was not found"
    assert found[" ".join([once] * 10)] == pytest.approx(5.0), "nine of ten are duplicates"


# ---- 6. CIDEr-D where all references are the same


def test_cider_of_unchanged_pairs_is_left_out_and_nothing_is_nan() -> None:
    same = ("no change has occurred", "there is no difference")
    pairs = [(sample(f"u{i}", "change_caption", *same, kind="unchanged"), same[0]) for i in range(5)]
    pairs += [
        (sample(f"c{i}", "change_caption", f"a {w} is built", kind="changed"), f"a {w} is built")
        for i, w in enumerate(("house", "road", "bridge"))
    ]
    found = numbers(pairs, "change-caption/whitespace@1", draws=50)
    assert "cider_d/unchanged" not in found and found["bleu4/unchanged"] == pytest.approx(100.0, abs=1e-4)
    assert found["cider_d/changed"] > 0 and all(np.isfinite(value) for value in found.values())
    identical = [(sample(f"i{i}", "caption", "a green wood near a lake"), "a green wood near a lake") for i in range(4)]
    assert numbers(identical, "caption/coco-whitespace@1")["cider_d"] == 0.0


# ---- 7. word ids against words


def test_numbers_on_ids_and_on_words_never_share_a_protocol() -> None:
    words = {"a": 2, "house": 3, "is": 4, "built": 5, "the": 6, "near": 7, "road": 8}
    pairs = [
        (sample("x", "caption", "a house is built near the quarry"), "a house is built near the canal"),
        (sample("y", "caption", "the road is a road"), "the road is near"),
    ]
    ids = numbers(pairs, "caption/levir-ids@1", vocabulary=words)
    plain = numbers(pairs, "caption/coco-whitespace@1")
    assert ids["bleu1"] > plain["bleu1"], "two unknown words match each other as ids, and only there"
    assert numbers(pairs, "caption/coco-whitespace@1", vocabulary=words) == plain, (
        "a vocabulary at hand changes no words"
    )
    with pytest.raises(ValueError, match="vocabulary"):
        numbers(pairs, "caption/levir-ids@1")


# ---- 8. questions and answers cut at 50 words (DeltaVLM's text processor)


def long_dialogue() -> Sample:
    first = "please judge whether these two images have changed please answer yes or no"
    second = "if changes have occurred count the number of road and building changes separately"
    third = "based on the above analysis please describe the changes of these two images in detail finally"
    history = ((first, "yes"), (second, "two roads have changed and no buildings have changed"))
    answer = " ".join(f"word{i}" for i in range(70)) + " end"
    return sample("d", "change_vqa", answer, images=(PICTURE, PICTURE), instruction=third, history=history)


def test_more_than_fifty_words_are_read_and_learned() -> None:
    asked = long_dialogue()
    said = [text for turn in asked.history for text in turn]
    codec = TextCodec.fit([asked.instruction, *asked.responses, *said, "q : a :"])
    plain = {"image_size": 16, "mean": [0.5] * 3, "std": [0.25] * 3, "max_prompt": 64, "max_response": 160}
    batch = Collate(codec=codec, instruction_codec=codec, **plain)([(asked, 0)])
    prompt, response = (
        codec.decode(ids[0][mask[0]].tolist())
        for ids, mask in ((batch.prompt_ids, batch.prompt_mask), (batch.response_ids, batch.response_mask))
    )
    assert len(" ".join([*said, asked.instruction]).split()) > 50
    assert prompt.endswith("in detail finally"), "the end of the last question"
    assert response.split()[-1] == "end" and len(response.split()) == 71


# ---- 9. another prompt in training than in evaluation (DeltaVLM's "q: " prefix)


def test_training_and_evaluation_read_the_same_prompt() -> None:
    asked = [s for s in requests() if s.task != "retrieval"] + [
        replace(requests()[1], id="turn", history=(("is there a road ?", "no"),))
    ]
    train, evaluate = (collate(inference=flag)([(s, 1) for s in asked]) for flag in (False, True))
    for name in ("prompt_ids", "prompt_mask", "instruction_ids", "instruction_mask", "pixels"):
        assert torch.equal(getattr(train, name), getattr(evaluate, name)), name


# ---- 10. the true change flag at inference (PromptCC's published predictions)


def test_what_is_true_of_a_sample_does_not_reach_its_prediction() -> None:
    model, (codec, _) = tiny_model(), codecs()
    asked = [s for s in requests() if s.task in ("change_caption", "vqa", "mask")]
    flipped = [
        replace(
            s,
            kind={"changed": "unchanged", "unchanged": "changed"}.get(s.kind, "other"),
            responses=("two",),
            task="caption",
            mask=None,
            meta={"changeflag": 1, "changed": True},
        )
        for s in asked
    ]
    found = [
        answer_batch(model, codec, collate(inference=True)([(s, 1) for s in batch]), beams=1, max_new=8)
        for batch in (asked, flipped)
    ]
    assert [p.text for p in found[0]] == [p.text for p in found[1]]
    assert [p.weights for p in found[0]] == [p.weights for p in found[1]]
    assert len({p.text for p in found[0]}) > 1, "a model that always says the same could not show it"


def test_no_baseline_reads_the_true_change_flag() -> None:
    train = [sample(f"t{i}", "change_caption", "no change", kind="unchanged") for i in range(3)]
    train += [sample(f"b{i}", "change_caption", "a house is built", kind="changed") for i in range(2)]
    test = [sample("x", "change_caption", "?", kind="changed"), sample("y", "change_caption", "?", kind="unchanged")]
    fitted = Baselines(train)
    assert len(set(fitted.majority(test))) == len(set(fitted.text_only(test))) == 1


# ---- 11. a test image in the base that answers are retrieved from (RS-RAG)


def test_a_test_image_in_the_base_is_found_even_when_it_was_written_again(tmp_path: Path) -> None:
    def texture(seed: int) -> np.ndarray:
        coarse = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC))

    base = [texture(seed) for seed in range(6)]
    Image.fromarray(base[2]).save(tmp_path / "again.jpg", quality=80)
    copied, fresh = fingerprint(tmp_path / "again.jpg"), fingerprint(texture(99))
    known = NearDuplicates([fingerprint(picture).thumbnail for picture in base])
    found = known.find([copied.thumbnail, fresh.thumbnail])
    assert [match.train for match in found if match.test == 0] == [2]
    assert not [match for match in found if match.test == 1]


def test_no_nearest_neighbour_shows_the_test_picture(tmp_path: Path) -> None:
    """Not under another question, name, size of file or id: the base is cleaned of the query, whatever it is called."""
    pictures = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
    query, other, far, unlike = pictures
    Image.fromarray(query).save(tmp_path / "query.png")
    Image.fromarray(query).save(tmp_path / "copy.bmp")
    asked = sample("q", "vqa", "?", images=(tmp_path / "query.png",), kind="count")
    base = [
        sample("same file", "vqa", "same file", images=(tmp_path / "query.png",), kind="count"),
        sample("its copy", "vqa", "its copy", images=(tmp_path / "copy.bmp",), kind="count"),
        sample("its pixels", "vqa", "its pixels", images=(query,), kind="count"),
        sample(
            "other question", "vqa", "other question", images=(query.copy(),), instruction="how many?", kind="count"
        ),
        sample("far", "vqa", "far", images=(far,), kind="count"),
        sample("near", "vqa", "near", images=(other,), kind="count"),
    ]
    features = torch.tensor([[1.0, 0.0]] * 4 + [[0.0, 1.0], [1.0, 0.2]])
    found = Baselines(base).nearest([asked], features, torch.tensor([[1.0, 0.0]]))
    assert found == ["near"], "four have cosine 1, and are the picture itself"
    only = Baselines(base[:4]).nearest([asked], features[:4], torch.tensor([[1.0, 0.0]]))
    assert only == [None], "a base of nothing else has no answer"
    wider = [*base[:3], sample("wider", "vqa", "wider", images=(unlike,), instruction="how many?", kind="count")]
    assert Baselines(wider).nearest([asked], features[:4], torch.tensor([[1.0, 0.0]])) == ["wider"]


def test_no_nearest_pair_shares_a_date_with_the_test_pair() -> None:
    before, after, later, elsewhere = np.random.default_rng(1).integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
    asked = sample("q", "change_caption", "?", images=(before, after))
    base = [
        sample("a", "change_caption", "shared", images=(after.copy(), later)),
        sample("b", "change_caption", "elsewhere", images=(elsewhere, later)),
    ]
    assert Baselines(base).nearest([asked], torch.eye(2), torch.tensor([[1.0, 0.1]])) == ["elsewhere"]


def test_masks_of_the_nearest_neighbour_are_not_those_of_the_test_picture() -> None:
    """What `evaluate` prints beside a model: the baseline over a training split that holds the test split."""
    full, empty = np.ones((8, 8), dtype=bool), np.zeros((8, 8), dtype=bool)
    pictures = np.random.default_rng(2).integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
    test = [
        sample(f"m{i}", "mask", "[SEG]", images=(p,), mask=full if i % 2 else empty) for i, p in enumerate(pictures)
    ]
    train = [replace(s, id=f"train {s.id}", images=(s.images[0].copy(),)) for s in test]  # type: ignore[union-attr]
    near = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])  # 0 beside 1, 2 beside 3
    found = Baselines(train).results(test, protocol_prefix="", split="test", train_features=near, test_features=near)
    assert {r.metric: r.value for r in found["nearest neighbour"]}["mask/miou"] == 0.0

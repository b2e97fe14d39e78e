import json
import os
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from rsmoe.metrics.captions.caption_scores import caption_scores
from rsmoe.metrics.captions.change_captions import change_caption_tally
from rsmoe.metrics.captions.cider import cider_d
from rsmoe.metrics.captions.ngram_counts import NGrams
from rsmoe.metrics.captions.rouge import _length, _places, rouge_l
from rsmoe.metrics.captions.tokenize import Tokenizer, ptb, tokenizer, whitespace, word_ids, word_vocabulary
from rsmoe.metrics.captions.tokenized import Corpus

DATA = os.environ.get("RSMOE_DATA")
GOLDEN = Path(DATA).parent / "golden" if DATA else Path("/nonexistent")
needs_golden = pytest.mark.skipif(
    not (GOLDEN / "caption_rsicd_val.json").exists(), reason="no folder `golden` beside $RSMOE_DATA"
)
KEYS = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider_d")
WITH_METEOR = (*KEYS, "meteor", "s_m")

WORDS = ("a", "many", "green", "trees", "are", "near", "the", "road", "two", "planes")
caption = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
corpus = st.lists(st.tuples(caption, st.lists(caption.filter(bool), min_size=1, max_size=4)), min_size=1, max_size=6)


def cider(captions: list[str], references: list[list[str]]) -> list[float]:
    return cider_d(Corpus.of(captions, references, tokenize=whitespace)).tolist()


def golden() -> tuple[list[str], list[list[str]], dict[str, Any]]:
    texts = json.loads((GOLDEN / "caption_rsicd_val.json").read_text())
    stored = json.loads((GOLDEN / "caption_rsicd_val_scores.json").read_text())
    names = sorted(texts["hypotheses"])
    return [texts["hypotheses"][n] for n in names], [texts["references"][n] for n in names], stored


def rsicd_word_ids() -> Tokenizer:
    images = json.loads((Path(DATA or "") / "rsicd" / "dataset_rsicd.json").read_text())["images"]
    return word_ids(word_vocabulary(s["raw"] for i in images if i["split"] == "train" for s in i["sentences"]))


@pytest.mark.real_data
@needs_golden
@pytest.mark.parametrize("name", ["whitespace", "ptb", "word_ids"])
def test_equal_to_pycocoevalcap(name: str) -> None:
    texts, references, stored = golden()
    tokenize = rsicd_word_ids() if name == "word_ids" else tokenizer(name)
    started = time.process_time()
    scores = caption_scores(texts, references, tokenize=tokenize)
    assert time.process_time() - started < 5  # 0.3 s on an idle core
    assert scores["n"] == stored["scores"]["n"]
    for key in KEYS:
        assert scores[key] == pytest.approx(stored["scores"][name][key], abs=1e-9), key


@pytest.mark.real_data
@needs_golden
def test_per_image_scores_equal_pycocoevalcap() -> None:
    texts, references, stored = golden()
    corpus = Corpus.of(texts, references, tokenize=ptb)
    expected = stored["per_image_first20_sorted_by_filename_ptb"]
    assert cider_d(corpus)[:20] == pytest.approx(expected["cider_d"], abs=1e-9)
    assert rouge_l(corpus)[:20] == pytest.approx(expected["rouge_l"], abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=7), max_size=5))
def test_ngrams_equal_a_plain_count(sentences: list[list[str]]) -> None:
    table = NGrams.of(sentences)
    found = Counter(zip(table.sentence.tolist(), table.order[table.gram].tolist(), table.count.tolist(), strict=True))
    expected: Counter[tuple[int, int, int]] = Counter()
    for i, tokens in enumerate(sentences):
        for n in range(4):
            grams = Counter(tuple(tokens[j : j + n + 1]) for j in range(len(tokens) - n))
            expected.update((i, n, count) for count in grams.values())
    assert found == expected
    assert table.length.tolist() == list(map(len, sentences))


def test_bleu_equals_sacrebleu() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(6, 14))) for _ in range(40)]
    references = [[" ".join(rng.choices(WORDS, k=rng.randint(6, 14))) for _ in range(3)] for _ in texts]
    scores = caption_scores(texts, references, tokenize=whitespace)
    columns = [list(column) for column in zip(*references, strict=True)]
    for n in range(1, 5):
        theirs = sacrebleu.metrics.BLEU(tokenize="none", smooth_method="none", max_ngram_order=n)
        assert 100 * scores[f"bleu{n}"] == pytest.approx(theirs.corpus_score(texts, columns).score, abs=1e-4)


@settings(deadline=None)
@given(st.text("abc", max_size=9), st.text("abc", max_size=9))
def test_bit_parallel_lcs_equals_the_table(first: str, second: str) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, x in enumerate(first):
        for j, y in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    assert _length(_places(first), len(first), second) == table[-1][-1]


@settings(max_examples=30, deadline=None)
@given(corpus, st.randoms(use_true_random=False))
def test_order_of_samples_and_references_changes_nothing(rows: list[tuple[str, list[str]]], rng: random.Random) -> None:
    shuffled = [(text, rng.sample(references, len(references))) for text, references in rng.sample(rows, len(rows))]
    first, second = (
        caption_scores([t for t, _ in some], [r for _, r in some], tokenize=whitespace, meteor=True)
        for some in (rows, shuffled)
    )
    assert first == pytest.approx(second, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(corpus)
def test_empty_is_the_minimum_and_scores_are_bounded(rows: list[tuple[str, list[str]]]) -> None:
    references = [r for _, r in rows]
    some = caption_scores([t for t, _ in rows], references, tokenize=whitespace, meteor=True)
    none = caption_scores([""] * len(rows), references, tokenize=whitespace, meteor=True)
    assert none["parse_failures"] == len(rows)
    for key in WITH_METEOR:
        assert none[key] == 0.0
        assert 0.0 <= some[key] <= {"cider_d": 10.0, "s_m": 13 / 4}.get(key, 1.0) + 1e-9


def test_perfect_is_the_maximum() -> None:
    texts = ["many green trees are near the road .", "two planes are parked at the airport .", "a lake in the desert ."]
    scores = caption_scores(texts, [[t, t] for t in texts], tokenize=whitespace, meteor=True)
    assert [scores[k] for k in WITH_METEOR] == pytest.approx([1, 1, 1, 1, 1, 10, 1, 13 / 4], abs=1e-6)


def test_empty_prediction_is_not_dropped_from_the_denominator() -> None:
    texts, references = ["a green lake", "two planes"], [["a green lake"], ["two planes"]]
    full = caption_scores(texts, references, tokenize=whitespace)
    half = caption_scores([texts[0], " . "], references, tokenize=whitespace)
    assert (half["n"], half["parse_failures"]) == (2, 1)
    assert half["rouge_l"] == pytest.approx(full["rouge_l"] / 2)
    assert half["bleu1"] < 0.6 * full["bleu1"]


def test_cider_of_references_shared_by_all_images_is_zero() -> None:
    text = "the scene is the same as before"
    assert cider([text] * 3, [[text]] * 3) == [0.0, 0.0, 0.0]


def test_cider_clips_repetition() -> None:
    references = [["a red plane on grass"], ["two ships at sea"]]
    honest = cider(["a red plane", ""], references)[0]
    assert cider(["plane plane plane", ""], references)[0] < honest


def test_captions_may_be_scored_against_the_references_of_any_image() -> None:
    references = [["a red plane on grass"], ["two ships at sea", "a ship"], ["a lake"]]
    texts, images = ["two ships", "a plane", "two ships"], [1, 0, 2]
    corpus = Corpus.of(texts, references, tokenize=whitespace, images=images)
    alone = [
        cider([text if i == image else "" for i in range(3)], references)[image]
        for text, image in zip(texts, images, strict=True)
    ]
    assert cider_d(corpus).tolist() == pytest.approx(alone)
    assert rouge_l(corpus)[2] == 0 < rouge_l(corpus)[0]


def test_no_caption_or_references_is_an_error() -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        caption_scores([], [], tokenize=whitespace)
    with pytest.raises(ValueError, match="none empty"):
        caption_scores(["a"], [[]], tokenize=whitespace)


NO, YES = "there is no difference .", "a building has been constructed near the road ."
KIND = ["unchanged", "unchanged", "changed", "changed"]
TRUTH = [
    [NO, "the scene is the same as before ."],
    [NO],
    [YES, "a house appears ."],
    ["a road is built across the field ."],
]


def change(texts: list[str], *, meteor: bool = False) -> dict[str, float]:
    return change_caption_tally(texts, TRUTH, KIND, tokenize=whitespace, meteor=meteor).values()


def test_change_captions_report_the_subsets_apart() -> None:
    scores = change([NO, NO, YES, NO])
    assert scores["bleu4/unchanged"] > 0.99 > scores["bleu4/changed"]
    assert (scores["n"], scores["n/changed"], scores["n/unchanged"]) == (4, 2, 2)
    assert (scores["presence"], scores["false_alarm"], scores["missed"]) == (0.75, 0.0, 0.5)
    assert "cider_d/unchanged" not in scores and scores["cider_d/changed"] > 0


def test_change_captions_with_meteor_and_s_m() -> None:
    scores = change([NO, NO, YES, NO], meteor=True)
    for part in ("", "/changed"):
        terms = [scores[name + part] for name in ("bleu4", "meteor", "rouge_l", "cider_d")]
        assert scores["s_m" + part] == pytest.approx(sum(terms) / 4)
    assert scores["meteor/unchanged"] == pytest.approx(1)
    assert 1 > scores["meteor"] > scores["meteor/changed"] > 0
    assert "s_m/unchanged" not in scores and "meteor" not in change([NO, NO, YES, NO])


def test_a_subset_without_pairs_is_absent() -> None:
    scores = change_caption_tally([YES], [[YES]], ["changed"], tokenize=whitespace).values()
    assert scores["missed"] == 0 and "false_alarm" not in scores and "bleu1/unchanged" not in scores


def test_always_no_change_is_exposed() -> None:
    scores = change(["no change has occurred"] * 4)
    assert (scores["presence"], scores["false_alarm"], scores["missed"]) == (0.5, 0.0, 1.0)
    assert scores["bleu1/changed"] < 0.2


def test_empty_change_captions_are_wrong_everywhere() -> None:
    scores = change([""] * 4)
    assert (scores["presence"], scores["false_alarm"], scores["missed"]) == (0.0, 1.0, 1.0)
    assert scores["parse_failures/changed"] == 2


def test_change_captions_refuse_an_unknown_kind() -> None:
    with pytest.raises(ValueError, match=re.escape("not ['maybe']")):
        change_caption_tally(["a"], [["a"]], ["maybe"], tokenize=whitespace)

"""Expected numbers of METEOR are what ``meteor-1.5.jar -l en -norm -m "exact stem"`` prints."""

import importlib.util
import itertools
import json
import os
import random
import shutil
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsmoe.errors import UserError
from rsmoe.metrics.captions.java_meteor import java_meteor_jar, java_meteor_tally
from rsmoe.metrics.captions.meteor import FUNCTION_WORDS, meteor, meteor_statistics
from rsmoe.metrics.captions.meteor_alignment import EXACT, STEM, Words, align
from rsmoe.metrics.captions.snowball import stem
from rsmoe.metrics.captions.tokenize import Tokenizer, ptb, whitespace, word_ids, word_vocabulary
from rsmoe.metrics.captions.tokenized import Corpus

DATA = os.environ.get("RSMOE_DATA")
GOLDEN = Path(DATA).parent / "golden" if DATA else Path("/nonexistent")
needs_golden = pytest.mark.skipif(
    not (GOLDEN / "caption_rsicd_val.json").exists(), reason="no folder `golden` beside $RSMOE_DATA"
)
needs_java = pytest.mark.skipif(
    importlib.util.find_spec("pycocoevalcap") is None or shutil.which("java") is None,
    reason="needs Java and `pip install pycocoevalcap==1.2`",
)

CASES = (  # caption, reference, score
    ("5 6 9 9 7", "5 6 7 8", 0.3229411468272025),
    ("4 1 1 2 3 2 5 2 4 2 5", "2 4 3 5 5 2 4 3 5 5 2 4 2 1 2", 0.2959642361985957),
    ("3 2 2 1 3 2 1 1 3", "2 3 2 1 3 3", 0.4155676773125241),
    ("the trees near buildings the tree", "tree near trees the building", 0.3589353612167301),
    ("building the builds buildings near near", "buildings build the building near", 0.29739776951672864),
    ("a t junction beside dogs' house", "a t-junction beside the dog's house", 0.3960510362986229),
    ("1 2 3 4", "1 2 3 4", 1.0),
    ("4 3 2 1", "1 2 3 4", 0.4),
    ("7 8", "1 2 3 4", 0.0),
    ("", "1 2 3", 0.0),
)
CORPUS_SCORE = 0.31832338803307
THEIR_FUNCTION_WORDS = frozenset(("the", "a", "'", "'s"))

STEMS = (
    "buildings:build running:run trees:tree generally:general surrounded:surround parking:park residential:residenti "
    "densely:dens playgrounds:playground baseball:basebal stadium:stadium industrial:industri viaducts:viaduct "
    "skies:sky dying:die news:news inning:inning proceed:proceed ties:tie cries:cri gas:gas this:this kiwis:kiwi "
    "hopping:hop hoping:hope falling:fall luxuriated:luxuri agreed:agre feed:feed happy:happi say:say by:by "
    "relational:relat conditional:condit vietnamization:vietnam operator:oper sensibiliti:sensibl apology:apolog "
    "mainly:main hopefulness:hope formative:format electrical:electr adjustment:adjust adoption:adopt rate:rate "
    "controll:control roll:roll communism:communism generous:generous youth:youth enjoy:enjoy boy's:boy 's:'s 'tis:tis "
    "yyy:yyy exceedingly:exceed owned:own as:as ab:ab"
)

ids = st.lists(st.sampled_from("123"), max_size=5)


def statistics(captions: list[str], references: list[list[str]], tokenize: Tokenizer = whitespace) -> np.ndarray:
    corpus = Corpus.of(captions, references, tokenize=tokenize)
    return meteor_statistics(corpus, function_words=THEIR_FUNCTION_WORDS)


def words(text: str) -> Words:
    return Words(words=tuple(text.split()))


@pytest.mark.parametrize("pair", STEMS.split())
def test_stem(pair: str) -> None:
    word, expected = pair.split(":")
    assert stem(word) == expected


@pytest.mark.parametrize(("caption", "reference", "expected"), CASES)
def test_score_equals_the_java_program(caption: str, reference: str, expected: float) -> None:
    assert float(meteor(statistics([caption], [[reference]])[0])) == pytest.approx(expected, abs=1e-12)


def test_corpus_score_equals_the_java_program() -> None:
    rows = statistics([caption for caption, _, _ in CASES], [[reference] for _, reference, _ in CASES])
    assert float(meteor(rows.sum(axis=0))) == pytest.approx(CORPUS_SCORE, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(ids, ids)
def test_alignment_is_the_best_of_all(first: list[str], second: list[str]) -> None:
    """Against every one-to-one alignment: most matches, then fewest chunks."""

    def chunks(matches: list[tuple[int, int]]) -> int:
        return sum((i - 1, j - 1) not in matches for i, j in matches)

    best = (0, 0)
    for n in range(1, min(len(first), len(second)) + 1):
        for mine in itertools.combinations(range(len(first)), n):
            for theirs in itertools.permutations(range(len(second)), n):
                pairs = list(zip(mine, theirs, strict=True))
                if all(first[i] == second[j] for i, j in pairs):
                    best = min(best, (-n, chunks(pairs)))
    found = align(Words(words=tuple(first)), Words(words=tuple(second)))
    assert (-len(found.matches), found.chunks) == best


def test_modules_and_identical_sentences() -> None:
    assert align(words("two trees"), words("trees tree two")).matches == ((1, 0, EXACT), (0, 2, EXACT))
    assert align(words("green tree"), words("green trees")).matches == ((0, 0, EXACT), (1, 1, STEM))
    same = align(words("tree trees"), words("tree trees"))
    assert same.matches == ((0, 0, EXACT), (1, 1, EXACT)) and same.chunks == 1


def test_function_words_count_less() -> None:
    corpus = Corpus.of(["the lake", "the lake"], [["the sea"], ["a lake"]], tokenize=whitespace)
    article, noun = meteor(meteor_statistics(corpus))
    assert 0 < article < noun
    assert article == meteor(meteor_statistics(corpus, function_words=()))[0] / 2 == pytest.approx(noun / 3)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(ids, st.lists(ids, min_size=1, max_size=3)), min_size=1, max_size=4), st.randoms())
def test_order_of_references_changes_nothing(rows: list[tuple[list[str], list[list[str]]]], rng: random.Random) -> None:
    captions, references = [" ".join(c) for c, _ in rows], [[" ".join(r) for r in refs] for _, refs in rows]
    shuffled = [rng.sample(texts, len(texts)) for texts in references]
    assert np.array_equal(statistics(captions, references), statistics(captions, shuffled))
    assert (meteor(statistics(captions, references)) <= 1).all()


def test_perfect_is_one_and_empty_is_zero() -> None:
    texts = ["many green trees are near the road", "a lake", "two planes"]
    references = [[text, "something else"] for text in texts]
    assert float(meteor(statistics(texts, references).sum(axis=0))) == pytest.approx(1, abs=1e-12)
    assert float(meteor(statistics([""] * 3, references).sum(axis=0))) == 0


def test_long_ambiguous_captions_take_no_time() -> None:
    rng = random.Random(0)
    often = ["the", "a", "of", "in", "road", "trees", "with", "and"]
    text = [" ".join(rng.choices(often + [f"w{i}" for i in range(40)], k=60)) for _ in range(8)]
    started = time.process_time()
    statistics(text[:4], [[t] for t in text[4:]])
    assert time.process_time() - started < 4


def golden() -> tuple[list[str], list[list[str]], dict[str, dict[str, float]]]:
    texts = json.loads((GOLDEN / "caption_rsicd_val.json").read_text())
    stored = json.loads((GOLDEN / "caption_rsicd_val_scores.json").read_text())
    names = sorted(texts["hypotheses"])
    return [texts["hypotheses"][n] for n in names], [texts["references"][n] for n in names], stored["scores"]


@pytest.mark.real_data
@needs_golden
@pytest.mark.parametrize(("name", "distance"), [("word_ids", 0.0009), ("whitespace", 0.0093), ("ptb", 0.0093)])
def test_distance_from_the_java_program(name: str, distance: float) -> None:
    captions, references, stored = golden()
    tokenize: Tokenizer = whitespace if name == "whitespace" else ptb
    if name == "word_ids":
        images = json.loads((Path(DATA or "") / "rsicd" / "dataset_rsicd.json").read_text())["images"]
        tokenize = word_ids(word_vocabulary(s["raw"] for i in images if i["split"] == "train" for s in i["sentences"]))
    corpus = Corpus.of(captions, references, tokenize=tokenize)
    started = time.process_time()
    value = float(meteor(meteor_statistics(corpus).sum(axis=0)))
    assert time.process_time() - started < 10  # 0.4 s on an idle core
    assert 0 <= stored[name]["meteor"] - value < distance


@pytest.mark.slow
@needs_java
def test_the_same_modules_and_function_words_give_the_java_score(tmp_path: Path) -> None:
    with zipfile.ZipFile(java_meteor_jar()) as jar:
        theirs = frozenset(jar.read("function/english.words").decode().split())
    assert len(theirs & FUNCTION_WORDS) > 40
    rows = [("a road in the lake", ["there is a road by the lakes", "trees"]), ("2 3 2 4", ["4 2 3", "2 2 3"])]
    captions, references = [caption for caption, _ in rows], [texts for _, texts in rows]
    found = java_meteor_tally(captions, references, tokenize=whitespace).values()["meteor"]
    corpus = Corpus.of(captions, references, tokenize=whitespace)
    assert float(meteor(meteor_statistics(corpus, function_words=theirs).sum(axis=0))) == pytest.approx(found, abs=1e-9)


def test_java_scorer_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="pip install pycocoevalcap==1.2") as error:
        java_meteor_jar()
    assert "Java runtime" in str(error.value) and "caption/meteor-ptb@1" in str(error.value)


COUNTS = {
    "SCORE ||| 5 6 7 8 ||| 5 6 9 9 7": "5 4 0 0 3 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 2 3 3",
    "SCORE ||| tree near trees the building ||| the trees near buildings the tree": (
        "6 5 2 1 3 3 1 1 1 1 0 0 0 0 0 0 0 0 0 0 5 5 5"
    ),
    "SCORE ||| 7 ||| the trees near buildings the tree": "6 1 2 0 " + "0 " * 18 + "0",
}


@pytest.fixture
def fake_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `java` that knows the counts of three pairs, and an empty jar."""
    (tmp_path / "pycocoevalcap" / "meteor").mkdir(parents=True)
    (tmp_path / "pycocoevalcap" / "meteor" / "meteor-1.5.jar").touch()
    program = f"#!{sys.executable}\nimport sys\nfor line in sys.stdin:\n    print({COUNTS!r}[line.strip()])\n"
    (tmp_path / "java").write_text(program)
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pycocoevalcap", raising=False)
    return tmp_path


def test_java_scorer_reads_the_counts_of_the_program(fake_java: Path) -> None:
    texts, references = ["the trees near buildings the tree"], [["7", "tree near trees the building"]]
    one = java_meteor_tally(texts, references, tokenize=whitespace).values()
    assert one["meteor"] == pytest.approx(CASES[3][2], abs=1e-12)
    two = java_meteor_tally([*texts, "5 6 9 9 7"], [*references, ["5 6 7 8"]], tokenize=whitespace)
    rows = statistics([CASES[3][0], CASES[0][0]], [[CASES[3][1]], [CASES[0][1]]])
    expected = {"meteor": float(meteor(rows.sum(axis=0))), "n": 2, "parse_failures": 0}
    assert two.values() == pytest.approx(expected, abs=1e-12)


def test_a_java_program_that_fails_is_an_error(fake_java: Path) -> None:
    with pytest.raises(UserError, match="0 of 1 pairs"):
        java_meteor_tally(["unknown"], [["pair"]], tokenize=whitespace)

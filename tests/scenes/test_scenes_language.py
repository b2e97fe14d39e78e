"""Sentences about generated scenes: true, varied, unique where they refer, silent about the answers they ask."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from rsmoe.data.aspects import split_aspects
from rsmoe.data.change.phrases import NO_CHANGE, NUMBERS, plural
from rsmoe.data.readers.rsicap import RSICap
from rsmoe.data.readers.rsieval import RSIEval
from rsmoe.data.sample import Sample
from rsmoe.data.transforms.directions import rewrite
from rsmoe.errors import UserError
from rsmoe.scenes import LAND_COVER, Change, Scene, SceneObject, ScenePair
from rsmoe.scenes.generator import OBJECT_CLASSES, SCENE_CLASSES, SceneGenerator
from rsmoe.scenes.language.answers import ANSWERS
from rsmoe.scenes.language.captions import short_captions
from rsmoe.scenes.language.change_language import change_captions
from rsmoe.scenes.language.description import describe
from rsmoe.scenes.language.facts import SceneFacts, direction
from rsmoe.scenes.language.questions import KINDS, RSIEVAL_KINDS, Question, ask
from rsmoe.scenes.language.referring import Reference, refer
from rsmoe.scenes.language.vocabulary import SYNONYMS
from rsmoe.scenes.pair_store import facts_of_scenes
from rsmoe.scenes.release import BLOCK, split_range, write_rsicap, write_rsieval
from rsmoe.scenes.samples import SCENE_TASKS, SceneDataset

SIZE = 48
NOUNS = {form: name for name in OBJECT_CLASSES for n in SYNONYMS.get(name, (name,)) for form in (n, plural(n))}
COLORS = ("red", "brown", "gray", "black", "white", "blue", "green", "beige", "orange", "yellow", "silver")
COUNTED = re.compile(
    rf"\b(a|an|{'|'.join(NUMBERS[1:])}|some|several|many|a lot of|lots of|dozens of) "
    rf"((?:{'|'.join(COLORS)}) )?({'|'.join(sorted(NOUNS, key=len, reverse=True))})\b(?! (?:park|farm)\b)"
)


def _thing(category: str, color: str, box: tuple[int, int, int, int], number: int) -> SceneObject:
    x1, y1, x2, y2 = box
    return SceneObject(
        category=category, color=color, box_px=box, obb_px=((x1, y1), (x2, y1), (x2, y2), (x1, y2)),
        instance=number, area_m2=float((x2 - x1) * (y2 - y1)),
    )  # fmt: skip


def _scene(*things: tuple[str, str, tuple[int, int, int, int]]) -> Scene:
    """60 px of grass, water in the left third, a road along the bottom and the things on top."""
    semantic = np.full((60, 60), LAND_COVER.index("grass"), np.uint8)
    semantic[:, :20] = LAND_COVER.index("water")
    semantic[50:54] = LAND_COVER.index("road")
    instances = np.zeros((60, 60), np.uint16)
    objects = []
    for number, (category, color, (x1, y1, x2, y2)) in enumerate(things, 1):
        instances[y1:y2, x1:x2] = number
        semantic[y1:y2, x1:x2] = LAND_COVER.index("building")
        objects.append(_thing(category, color, (x1, y1, x2, y2), number))
    return Scene(
        scene_class="residential area", image=np.zeros((60, 60, 3), np.uint8), semantic=semantic, instances=instances,
        objects=tuple(objects), gsd_m=1.0, season="summer", sun_azimuth_deg=180.0, sun_elevation_deg=40.0, urban=False,
    )  # fmt: skip


VILLAGE = _scene(
    ("house", "red", (44, 4, 52, 12)),
    ("house", "red", (24, 24, 28, 28)),
    ("house", "gray", (26, 40, 32, 46)),
    ("boat", "white", (4, 24, 8, 34)),
)


@pytest.fixture(scope="module")
def world() -> list[SceneFacts]:
    generator = SceneGenerator(size_px=SIZE, bands=3, seed=3)
    return [SceneFacts(generator.scene(index)) for index in range(8 * BLOCK)]


def test_facts_of_a_scene_drawn_by_hand() -> None:
    facts = SceneFacts(VILLAGE)
    assert facts.counts == {"house": 3, "boat": 1}
    assert facts.groups["boat"].cell == 3 and facts.groups["boat"].color == "white"
    assert facts.groups["house"].color == "" and facts.groups["house"].side == ""
    assert facts.groups["boat"].surroundings["water"] == 1.0
    assert facts.share("water") == pytest.approx((20 * 56 - 40) / 3600)
    assert facts.road_angle_deg == pytest.approx(0.0, abs=1)
    red, small, gray, boat = VILLAGE.objects
    assert direction(small, gray, 60) == "above" and direction(gray, small, 60) == "below"
    assert direction(boat, small, 60) == "left" and direction(red, gray, 60) == "", "neither above nor beside"


def test_references_of_a_scene_drawn_by_hand() -> None:
    facts = SceneFacts(VILLAGE)
    red, small, gray, _ = VILLAGE.objects
    assert Reference(category="house").matches(facts) == (red, small, gray)
    assert Reference(category="house", order="largest").matches(facts) == (red,)
    assert Reference(category="house", color="gray").matches(facts) == (gray,)
    assert Reference(category="house", closest_to="road").matches(facts) == (gray,)
    assert Reference(category="house", color="red", cell=2).text == "the red house in the top right corner"
    assert Reference(category="boat", order="largest").matches(facts) == ()


def test_answers_of_a_scene_drawn_by_hand() -> None:
    facts = SceneFacts(VILLAGE)
    known = ("boat", "bridge", "car", "house")
    presence = ANSWERS["presence"](facts, known)
    assert presence.items() >= {"house": "yes", "bridge": "no", "water": "yes", "farmland": "no"}.items()
    assert "airplane" not in ANSWERS["presence"](facts, ("airplane",)), "no apron, so its absence goes without saying"
    assert ANSWERS["count"](facts, known) == {"boat": "one", "bridge": "zero", "car": "zero", "house": "three"}
    assert ANSWERS["comparison"](facts, known)["house|boat"] == "yes"
    assert ANSWERS["ab_position"](facts, known) == {
        "boat": "left",
        "largest house": "top right",
        "smallest house": "center",
    }
    assert ANSWERS["road_ori"](facts, known) == {"": "horizontal"}
    assert ANSWERS["area"](facts, known)["water"] == "about a quarter"
    assert ANSWERS["area_comp"](facts, known)["grass|water"] == "grass"


@pytest.mark.parametrize("width, asked", [(3, False), (4, True)])  # 12 and 16 of 3,600 pixels
def test_colour_and_place_are_asked_only_of_what_can_be_seen(width: int, asked: bool) -> None:
    facts = SceneFacts(_scene(("boat", "white", (4, 24, 4 + width, 28)), ("house", "red", (44, 4, 52, 12))))
    assert ("boat" in ANSWERS["color"](facts, ())) == asked
    assert ("boat" in ANSWERS["ab_position"](facts, ())) == asked
    assert ("boat|house" in ANSWERS["re_position"](facts, ())) == asked
    assert ANSWERS["presence"](facts, ())["boat"] == "yes" and "house" in ANSWERS["color"](facts, ())


def _check_counts(text: str, facts: SceneFacts) -> int:
    """Every counted noun of a text against the ground truth; returns how many there were."""
    found = COUNTED.findall(text.lower())
    for amount, color, noun in found:
        name = NOUNS[noun]
        count = facts.counts[name]
        if color:
            assert {o.color for o in facts.scene.objects if o.category == name} == {color.strip()}, text
        if amount in NUMBERS:
            assert count == NUMBERS.index(amount), text
        elif amount in ("a", "an"):
            assert count == 1, text
        else:
            assert count >= {"some": 3, "several": 3, "dozens of": 24}.get(amount, 8), text
    return len(found)


def test_captions_count_and_colour_what_is_there(world: list[SceneFacts]) -> None:
    checked = 0
    for index, facts in enumerate(world):
        captions = short_captions(facts, random.Random(index))
        assert len(set(captions)) == 5
        for text in captions:
            assert re.fullmatch(r"[a-z]+( [a-z,]+)* \.", text), text
            checked += _check_counts(text, facts)
    assert checked > 2 * len(world)


def test_descriptions_are_true_and_fall_apart_into_their_aspects(world: list[SceneFacts]) -> None:
    for index, facts in enumerate(world):
        said = describe(facts, random.Random(index))
        _check_counts(said.objects, facts)
        assert 2 <= said.text.count(".") <= 6
        parts = split_aspects(said.text)
        assert (parts["theme"], parts["object"]) == (said.theme, said.objects)
        assert parts["relation"] == (said.relations or said.theme)


def test_wording_varies_and_the_vocabulary_stays_small(world: list[SceneFacts]) -> None:
    captions = [text for i, facts in enumerate(world) for text in short_captions(facts, random.Random(i))]
    texts = captions + [describe(facts, random.Random(i)).text for i, facts in enumerate(world)]
    words = {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}
    assert len(words) < 400
    assert len(set(captions)) > 0.6 * len(captions)
    assert Counter(captions).most_common(1)[0][1] < 0.03 * len(captions)


def test_references_fit_exactly_one_object(world: list[SceneFacts]) -> None:
    kinds: Counter[str] = Counter()
    for index, facts in enumerate(world):
        found = refer(facts, random.Random(index))
        if found is None:
            continue
        reference, target = found
        assert reference.matches(facts) == (target,)
        alike = [o for o in facts.scene.objects if o.category == target.category and o.color == target.color]
        if not (reference.order or reference.closest_to or reference.cell is not None):
            assert len(alike) == 1 or facts.counts[target.category] == 1
        if reference.order == "largest":
            assert target.area_m2 == max(o.area_m2 for o in (alike if reference.color else facts.scene.objects)
                                         if o.category == target.category)  # fmt: skip
        kinds[target.category] += 1
    assert len(kinds) >= 12 and sum(kinds.values()) > 0.6 * len(world)


def _questions(world: list[SceneFacts], each: int) -> list[list[Question]]:
    blocks = [world[i : i + BLOCK] for i in range(0, len(world), BLOCK)]
    return [list(ask(b, count=each * BLOCK, rng=random.Random(i))) for i, b in enumerate(blocks)]


def test_text_alone_does_not_answer_the_questions(world: list[SceneFacts]) -> None:
    """Two models that never see a picture, each trained on half of the scenes and tested on the other half."""
    blocks = _questions(world, 11)
    halves = [[q for block in blocks[k::2] for q in block] for k in (0, 1)]
    assert len(halves[0]) + len(halves[1]) > 2900
    right: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for train, test in (halves, halves[::-1]):
        by_string: dict[str, Counter[str]] = defaultdict(Counter)
        by_kind: dict[str, Counter[str]] = defaultdict(Counter)
        for q in train:
            by_string[q.text][q.answer] += 1
            by_kind[q.kind][q.answer] += 1
        for q, words in zip(test, _bag_of_words(train, test), strict=True):
            majority = by_kind[q.kind].most_common(1)[0][0]
            string = by_string[q.text].most_common(1)[0][0] if q.text in by_string else majority
            right[q.kind].append((q.answer == majority, _guess(q), q.answer == string, q.answer == words))
    assert set(right) == set(KINDS)
    for kind, rows in right.items():
        majority_right, guess_right, string_right, words_right = np.mean(rows, axis=0)
        chance = max(majority_right, guess_right)
        noise = 2.5 * (chance * (1 - chance) / len(rows)) ** 0.5
        assert max(string_right, words_right) <= chance + 0.03 + noise, (kind, chance, string_right, words_right)


def _guess(q: Question) -> float:
    """Chance of a guess among the options that a question names or implies, 0 where it names none."""
    if q.answer in ("yes", "no") or q.kind == "area_comp":
        return 1 / 2
    return 1 / 4 if "eason" in q.text or q.kind == "re_position" else 1 / 3 if q.kind == "road_ori" else 0.0


def _bag_of_words(train: list[Question], test: list[Question]) -> list[str]:
    """Answers of a logistic regression on the words of the question."""
    words = sorted({w for q in train for w in q.text.lower().strip("?").split()})
    answers = sorted({q.answer for q in train})

    def encode(questions: list[Question]) -> torch.Tensor:
        seen = [set(q.text.lower().strip("?").split()) for q in questions]
        return torch.tensor([[float(w in s) for w in words] for s in seen])

    torch.manual_seed(0)
    model = torch.nn.Linear(len(words), len(answers))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03, weight_decay=1e-4)
    inputs, targets = encode(train), torch.tensor([answers.index(q.answer) for q in train])
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return [answers[i] for i in model(encode(test)).argmax(1).tolist()]


def test_yes_and_no_are_equally_frequent_for_every_question(world: list[SceneFacts]) -> None:
    asked: dict[str, Counter[str]] = defaultdict(Counter)
    for block in _questions(world, 4):
        for q in block:
            if q.answer in ("yes", "no"):
                asked[q.text][q.answer] += 1
    assert len(asked) > 20
    assert all(abs(c["yes"] - c["no"]) <= 1 for c in asked.values()), asked


def test_questions_are_answered_from_the_scene_they_are_asked_of(world: list[SceneFacts]) -> None:
    for start, block in zip(range(0, len(world), BLOCK), _questions(world, 2), strict=True):
        for q in block:
            facts = world[start + q.scene]
            asks = re.search(
                r"(?:How many|number of) (.*?)(?: are there| can be seen| are visible| in the image)", q.text
            )
            if asks:
                assert facts.counts[NOUNS[asks[1]]] == NUMBERS.index(q.answer), q
            if q.kind == "scene":
                assert q.answer == facts.scene.scene_class
            if q.kind == "rural_urban":
                assert (q.answer == "urban") == facts.scene.urban


@pytest.fixture(scope="module")
def pairs() -> list[ScenePair]:
    generator = SceneGenerator(size_px=SIZE, bands=3, seed=3)
    return [pair for pair in (generator.pair(index) for index in range(24)) if pair.changes]


def _pair(*changes: tuple[str, str, int, tuple[int, int, int, int]]) -> ScenePair:
    before = _scene()
    mask = np.zeros((60, 60), np.uint8)
    after = before.semantic.copy()
    said = []
    for action, category, value, (x1, y1, x2, y2) in changes:
        mask[y1:y2, x1:x2] = value
        after[y1:y2, x1:x2] = LAND_COVER.index("road" if value == 2 else "building")
        said.append(Change(action=action, category=category, box_px=(x1, y1, x2, y2), mask_value=value, area_px=40))
    later = replace(before, semantic=after)
    vanished = np.zeros(mask.shape, bool)
    return ScenePair(
        before=before, after=later, changes=tuple(said), change_mask=mask, vanished=vanished, shift_px=(0.0, 0.0)
    )


def test_change_language_of_a_pair_drawn_by_hand() -> None:
    pair = _pair(("built", "house", 1, (45, 3, 55, 13)), ("built", "house", 1, (45, 16, 55, 19)),
                 ("built", "road", 2, (30, 0, 33, 60)))  # fmt: skip
    facts = facts_of_scenes(pair, id="0", source="scenes")
    assert facts.counts == {"road": 1, "building": 2}
    assert facts.cells == {"road": ("top-center", "center-center", "bottom-center"), "building": ("top-right",)}
    captions = {text for seed in range(20) for text in change_captions(pair, random.Random(seed))}
    assert all(text.endswith(" .") and ("house" in text or "road" in text) for text in captions)
    assert any("two houses" in text and "top right" in text for text in captions)
    assert any("on the grass" in text for text in captions)
    assert not any(word in text for text in captions for word in ("three", "left", "removed", "disappear"))


def test_change_captions_say_beside_which_road_and_on_what_ground() -> None:
    """The road of the scene drawn by hand runs along row 50 to 53; the left third is water."""

    def said(*changes: tuple[str, str, int, tuple[int, int, int, int]]) -> str:
        return " ".join(text for seed in range(30) for text in change_captions(_pair(*changes), random.Random(seed)))

    beside = said(("built", "house", 1, (40, 42, 48, 48)))
    assert "beside the road" in beside and "both sides" not in beside and "along the road" not in beside
    across = said(("built", "house", 1, (30, 42, 38, 48)), ("built", "house", 1, (42, 55, 50, 60)))
    assert "houses are built on both sides of the road" in across and "along" not in across
    along = said(("built", "house", 1, (30, 42, 38, 48)), ("built", "house", 1, (42, 42, 50, 48)))
    assert "along the road" in along and "both sides" not in along
    far = said(("built", "house", 1, (40, 10, 48, 16)), ("demolished", "warehouse", 1, (40, 24, 48, 30)))
    assert "road" not in far and "a building is removed" in far and "house" not in far, "houses are buildings there"
    assert "a house" in said(("built", "road", 2, (25, 0, 28, 60)), ("built", "house", 1, (40, 10, 48, 16)))
    assert "lake" not in said(("flooded", "water", 3, (40, 10, 56, 26))), "there is water on the first date"
    drained = said(("drained", "water", 3, (40, 10, 56, 26)))
    assert "receded" in drained and "disappears" in drained and "lake" not in drained and "risen" not in drained


def test_every_change_caption_can_be_turned(pairs: list[ScenePair]) -> None:
    written = [text for i, pair in enumerate(pairs) for text in change_captions(pair, random.Random(i))]
    assert len(written) == 5 * len(pairs)
    assert all(rewrite(text, symmetry) is not None for text in written for symmetry in range(8))


def test_unchanged_pairs_say_so() -> None:
    for seed in range(5):
        assert sorted(change_captions(_pair(), random.Random(seed))) == sorted(f"{text} ." for text in NO_CHANGE)


def pixels(row: Sample, date: int = 0) -> np.ndarray:
    image = row.images[date]
    assert isinstance(image, np.ndarray) and image.dtype == np.uint8
    return image


def test_dataset_rows() -> None:
    data = SceneDataset(split="val", size=60, size_px=SIZE)
    assert len(data) == 60 and data.protocol == "generated/"
    rows = [data[i] for i in range(60)]
    assert [row.task for row in rows[:5]] == list(SCENE_TASKS) and len({row.id for row in rows}) == 60
    for row in rows:
        assert len(row.images) == (2 if row.task == "change_caption" else 1)
        assert all(pixels(row, t).shape == (SIZE, SIZE, 3) for t in range(len(row.images)))
        if row.task == "mask":
            assert row.mask is not None and row.mask.dtype == bool and row.mask.sum() >= 8
            assert row.responses[0].split()[-1] == "[SEG]" and row.kind in row.responses[0]
        if row.task == "retrieval":
            assert len(row.responses) == 5 and all(text.endswith(" .") for text in row.responses)
        if "left" in " ".join(row.responses) + row.instruction:
            assert row.directional
    again = SceneDataset(split="val", size=60, size_px=SIZE)
    for i in (59, 7, 31):
        assert again[i].responses == rows[i].responses and np.array_equal(pixels(again[i]), pixels(rows[i]))
    other = SceneDataset(split="test", size=60, size_px=SIZE, tasks=("caption",))
    assert not np.array_equal(pixels(other[0]), pixels(rows[0]))


def test_dataset_pairs_and_styles() -> None:
    data = SceneDataset(split="train", size=12, size_px=SIZE, tasks=("change_caption",))
    assert {data[i].kind for i in range(12)} == {"changed", "unchanged"}
    assert data[0].class_map is not None and data[0].meta["scene_class"] in SCENE_CLASSES
    themes = SceneDataset(split="train", size=3, size_px=SIZE, tasks=("caption",), caption_style="theme")
    assert themes[0].responses[0].count(".") == 1 and themes[0].meta["scene_class"] in SCENE_CLASSES


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"root": "/data"}, "data.root"),
        ({"tasks": ("captions",)}, "Did you mean 'caption'"),
        ({"tasks": ()}, "at least one"),
        ({"tasks": ("vqa", "vqa")}, "once"),
        ({"split": "dev"}, "train, val, test"),
        ({"size": 0}, "size=0"),
        ({"caption_style": "long"}, "caption style"),
    ],
)
def test_dataset_refuses(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        SceneDataset(**({"split": "train", "size": 10} | given))  # type: ignore[arg-type]


def test_releases_are_read_by_the_real_readers(tmp_path: Path) -> None:
    generator = SceneGenerator(size_px=SIZE, bands=3, seed=0)
    scenes = split_range("train", BLOCK + 4)
    write_rsicap(tmp_path / "cap", generator=generator, scenes=scenes)
    rows = json.loads((tmp_path / "cap" / "captions.json").read_text())["annotations"]
    assert set(rows[0]) == {"image_id", "filename", "text_input", "text_output"} and len(rows) == len(scenes)
    reader = RSICap(root=str(tmp_path / "cap"), split="train", val_fraction=0.0)
    assert len(reader) == len(scenes) and reader[0].responses[0].endswith(".")
    write_rsieval(tmp_path / "eval", generator=generator, scenes=scenes)
    asked = RSIEval(root=str(tmp_path / "eval"), tasks=("vqa",))
    samples = [asked[i] for i in range(len(asked))]
    assert len(samples) > 8 * len(scenes) and {s.kind for s in samples} <= set(RSIEVAL_KINDS)
    stamp = (tmp_path / "eval" / "stamp.json").stat().st_mtime_ns
    write_rsieval(tmp_path / "eval", generator=generator, scenes=scenes)
    assert (tmp_path / "eval" / "stamp.json").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="scenes=38 instead of 3"):
        write_rsicap(tmp_path / "cap", generator=generator, scenes=split_range("train", 3))
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="left alone"):
        write_rsicap(tmp_path / "mine", generator=generator, scenes=scenes)


@pytest.mark.parametrize(
    ("error", "seen"), [(OSError(28, "No space left on device"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_an_interrupted_release_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, seen: type[BaseException]
) -> None:
    generator = SceneGenerator(size_px=SIZE, bands=3, seed=0)
    real = generator.scene

    def scene(index: int) -> Scene:
        if index == 3:
            raise error
        return real(index)

    monkeypatch.setattr(generator, "scene", scene)
    with pytest.raises(seen):
        write_rsicap(tmp_path / "cap", generator=generator, scenes=range(5))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="bands=3"):
        write_rsicap(tmp_path / "cap", generator=SceneGenerator(size_px=SIZE, bands=4, seed=0), scenes=range(2))


def test_splits_share_no_scene() -> None:
    ranges = [split_range(split, 10_000_000) for split in ("train", "val", "test")]
    assert all(a.stop <= b.start for a, b in pairwise(ranges))

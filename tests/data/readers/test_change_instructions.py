"""Change instructions by rule: the six tasks of a pair, and what cannot be told."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
from support.release_change import CAPTION, COUNT, DIALOGUE, LOCATION, NEW, PRESENCE, H, W, picture

from rsmoe.data.change.answers import parse_counts
from rsmoe.data.change.facts import facts_of_masks, facts_of_sample
from rsmoe.data.change.instructions import KINDS, instructions, location_prompt, question_kind
from rsmoe.data.change.phrases import NO_CHANGE
from rsmoe.data.change.wording import open_questions
from rsmoe.data.rasters.class_map_sources import IndexMap
from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.scenes.generator import SceneGenerator
from rsmoe.scenes.language.change_language import CHANGE_KINDS, CLASSES, change_captions
from rsmoe.scenes.pair_store import facts_of_scenes

PAIR = (np.zeros((30, 30, 3), np.uint8), np.zeros((30, 30, 3), np.uint8))


def test_prompts_are_changechats() -> None:
    assert f"<image> <image> {location_prompt()}" == LOCATION
    fixed = {PRESENCE: "presence", COUNT: "count", CAPTION: "caption", LOCATION: "location", DIALOGUE[2]: "count",
             DIALOGUE[4]: "caption"}  # fmt: skip
    for text, kind in fixed.items():
        assert question_kind(text.removeprefix("<image> <image> ")) == kind
    assert (
        question_kind("please determine how many roads and buildings have changed") == "count"
    )  # as its processor cuts
    assert question_kind("How many houses are new?") == "open"


def test_the_six_tasks_of_a_pair() -> None:
    road, house = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    road[14:16, :], house[1:4, 1:4], house[6:9, 1:4], house[20:29, 20:29] = True, True, True, True
    masks = {"road": road, "building": house}
    facts = facts_of_masks(masks, id="p", images=PAIR, source="s", captions=NEW, class_map=road + 2 * house)
    made = {s.id: s for s in instructions(facts, open_turns=99)}
    assert list(made)[:4] == ["p:caption", "p:presence", "p:count", "p:location"] and len(made) == 7 + 9
    assert made["p:caption"].responses == NEW and made["p:caption"].kind == "changed"
    assert made["p:count"].responses == ("1 road has changed, and 3 buildings have changed.",)
    assert made["p:location"].responses == (
        "roads: ['center-left', 'center-center', 'center-right']. buildings: ['top-left', 'bottom-right'].",
    )
    assert made["p:location"].meta["change_cells"] == facts.cells and made["p:location"].directional
    last = made["p:dialogue2"]
    assert last.history == tuple(
        (made[f"p:dialogue{i}"].instruction, made[f"p:dialogue{i}"].responses[0]) for i in (0, 1)
    )
    assert last.responses[0].endswith(
        "1 road has changed, and 3 buildings have changed. The changed road is on the left, in the center and on the "
        "right. The changed buildings are in the top left corner and in the bottom right corner."
    )
    assert len(" ".join(t for turn in last.history for t in turn).split()) + len(last.responses[0].split()) > 50
    said = {s.instruction: s.responses[0] for s in made.values() if s.kind == "open"}
    assert said["Have any roads changed?"] == "Yes, 1 road has changed."
    assert said["Have more roads or more buildings changed?"] == "More buildings."
    assert said["Has anything changed in the center of the scene?"] == "Yes."
    assert said["How much of the scene has changed?"] == "About 18 % of the scene."
    assert said["Where has the scene changed the most?"] == "In the bottom right corner."
    assert instructions(facts) == instructions(facts) and len(instructions(facts, kinds=["open"], open_turns=2)) == 2
    for sample in made.values():
        assert sample.class_map is facts.class_map and sample.mask is None and sample.images is PAIR
    mask = instructions(facts, kinds=["mask"])[0]
    assert mask.task == "mask" and "[SEG]" in mask.responses[0] and mask.mask.sum() == 60 + 18 + 81


def test_an_unchanged_pair() -> None:
    nothing = np.zeros((30, 30), bool)
    facts = facts_of_masks({"road": nothing, "building": nothing}, id="p", images=PAIR, source="s")
    made = {s.id: s for s in instructions(facts, open_turns=99)}
    assert made["p:caption"].kind == "unchanged"
    assert {text.removesuffix(" .") for text in made["p:caption"].responses} == set(NO_CHANGE)
    assert made["p:presence"].meta["changed"] is False and made["p:presence"].responses == ("No",)
    assert made["p:location"].responses == ("roads: []. buildings: [].",)
    assert made["p:dialogue2"].responses[0].lower().rstrip(".") in NO_CHANGE and not made["p:dialogue2"].directional
    same = {question for question, _ in open_questions(facts)}
    other = facts_of_masks({"road": ~nothing, "building": nothing}, id="q", images=PAIR, source="s")
    assert same == {question for question, _ in open_questions(other)}  # a question does not give the answer away


def test_other_changes_count_as_change_but_are_not_counted() -> None:
    water = np.zeros((30, 30), bool)
    water[:10, :10] = True
    none = np.zeros((30, 30), bool)
    facts = facts_of_masks({"road": none, "building": none}, id="p", images=PAIR, source="s", anything=water)
    caption, presence, count, location = instructions(facts)[:4]
    assert presence.responses == ("Yes",) and caption.kind == "changed" and len(set(caption.responses)) == 5
    assert count.meta["change_counts"] == {"road": 0, "building": 0} and location.meta["change_cells"]["road"] == ()
    assert sum("left" in text for text in caption.responses) == 4


def test_templates_agree_in_number_and_differ() -> None:
    rng = np.random.default_rng(1)
    for number in range(40):
        masks = {noun: rng.random((30, 30)) < rng.choice([0, 0.001, 0.004]) for noun in ("road", "building")}
        facts = facts_of_masks(masks, id=str(number), images=PAIR, source="s")
        texts = instructions(facts, kinds=["caption"])[0].responses
        assert len(set(texts)) == 5 and all(text == text.lower() and text.endswith(" .") for text in texts)
        one = sum(facts.counts.values()) == 1
        detailed = instructions(facts, kinds=["dialogue"])[2].responses[0]
        assert not facts.changed or (parse_counts(detailed.split(".")[0]) == facts.counts and "The changed" in detailed)
        for text in texts:
            assert not re.search(r"\b(a|an) \w+ (have|are|do)\b" if one else r"\b\w+s (has|is|does)\b", text), text
            assert "  " not in text


def test_generated_pairs_give_the_same_set() -> None:
    generator, states = SceneGenerator(size_px=48, seed=3), set()
    for index in range(8):
        pair = generator.pair(index)
        captions = change_captions(pair, random.Random(0))
        facts = facts_of_scenes(pair, id=str(index), source="scenes", captions=captions)
        assert facts.changed == bool(pair.changes)
        states.add(facts.changed)
        buildings = sum(change.mask_value == 1 for change in pair.changes)
        assert facts.counts["building"] == buildings and bool(facts.cells["building"]) == bool(buildings)
        made = instructions(facts, kinds=(*KINDS, "mask"))
        assert made[0].responses == captions and made[0].kind == ("changed" if pair.changes else "unchanged")
        assert {s.task for s in made} == {"change_caption", "change_vqa", "mask"}
        kinds = read_array(made[0].class_map)
        assert made[0].classes == CHANGE_KINDS and np.array_equal(
            (kinds - 1) % 5 + 1, np.where(kinds, pair.change_mask, 1)
        )
        for change in pair.changes:
            x1, y1, x2, y2 = (int(v) for v in change.box_px)
            direction = {
                "built": "new",
                "demolished": "lost",
                "flooded": "new",
                "cleared": "lost",
                "planted": "new",
                "drained": "lost",
            }
            value = CHANGE_KINDS.index(f"{direction[change.action]} {CLASSES[change.mask_value]}")
            assert (kinds[y1:y2, x1:x2] == value).any()
        for noun, cells in facts.cells.items():  # the same facts are read off the class map
            assert facts_of_sample(made[0], nouns=("building", "road")).cells[noun] == cells
    assert states == {True, False}


def test_facts_of_what_cannot_be_told(tmp_path: Path) -> None:
    label = np.zeros((H, W), np.uint8)
    label[1, 1], label[5:7, 5:7] = 255, 255
    picture(tmp_path / "a.png", label)
    sample = Sample(
        id="a", images=(tmp_path / "a.png",) * 2, instruction="", responses=("[SEG]",), task="mask", source="s",
        class_map=IndexMap(tmp_path / "a.png", {0: 0, 255: 1}, ignore=()), classes=("no change", "building"),
    )  # fmt: skip
    with pytest.raises(UserError, match="no class road among no change, building"):
        facts_of_sample(sample)
    assert facts_of_sample(sample, nouns=["building"]).counts == {"building": 2}
    assert not isinstance(facts_of_sample(sample, nouns=["building"]).mask, np.ndarray)  # stays on disk
    assert facts_of_sample(sample, nouns=["building"], min_pixels=2).mask.sum() == 4
    plain = Sample(id="b", images=PAIR, instruction="", responses=("x",), task="mask", source="s", mask=label > 0)
    assert facts_of_sample(plain, nouns=["house"]).counts == {"house": 2}
    with pytest.raises(UserError, match="one mask, which cannot tell road from building"):
        facts_of_sample(plain)
    bare = Sample(id="c", images=PAIR, instruction="", responses=("x",), task="change_vqa", source="s")
    with pytest.raises(UserError, match="no mask"):
        facts_of_sample(bare)
    with pytest.raises(UserError, match="about two images, this sample has 1"):
        facts_of_sample(Sample(id="d", images=PAIR[:1], instruction="", responses=("x",), task="vqa", source="s"))
    with pytest.raises(UserError, match=r"masks of one size, found \{'road': \(2, 2\), 'building': \(3, 3\)\}"):
        facts_of_masks({"road": np.ones((2, 2)), "building": np.ones((3, 3))}, id="e", images=PAIR, source="s")
    with pytest.raises(UserError, match="found none"):
        facts_of_masks({}, id="e", images=PAIR, source="s")
    with pytest.raises(UserError, match="unknown kind of change instruction 'captions'. Did you mean 'caption'"):
        instructions(facts_of_sample(plain, nouns=["house"]), kinds=["captions"])

"""Readers of pairs with maps: LEVIR-MCI, SECOND-CC, and folders of A, B and label."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from support.readers import check_pairs, reader, write
from support.release_change import NEW, H, W, edit, folders, levir_mci, picture, second
from support.transitions import split_transitions

from rsmoe.data.change.facts import facts_of_sample
from rsmoe.data.change.instructions import KINDS, instructions
from rsmoe.data.rasters.components import without_specks
from rsmoe.data.rasters.images import read_array
from rsmoe.data.rasters.transition_map import TransitionMap, transition_names
from rsmoe.errors import UserError

# --- LEVIR-MCI, SECOND-CC ---


@pytest.mark.parametrize("bands", [1, 3])
def test_levir_mci_masks(tmp_path: Path, bands: int) -> None:
    data = reader("levir_mci", levir_mci(tmp_path, bands=bands), split="train", tasks=["change_caption", "mask"])
    caption, mask, same, empty = check_pairs(data)
    assert (caption.id, mask.id) == ("train_000001.png", "train_000001.png:mask") and mask.kind == "change"
    assert caption.classes == ("no change", "road", "building") and caption.responses == NEW
    np.testing.assert_array_equal(np.bincount(read_array(caption.class_map).ravel()), [H * W - 27, 18, 9])
    np.testing.assert_array_equal(read_array(mask.mask), read_array(mask.class_map) > 0)
    assert same.kind == "unchanged" and not read_array(empty.mask).any()
    facts = facts_of_sample(caption)
    assert facts.counts == {"road": 1, "building": 1} and facts.captions == NEW
    assert facts.cells == {"road": ("center-center", "center-right", "bottom-center", "bottom-right"),
                           "building": ("top-left",)}  # fmt: skip
    assert len(check_pairs(reader("levir_mci", tmp_path, split="train"))) == 2  # captions alone by default


def test_levir_mci_bad_masks(tmp_path: Path) -> None:
    path = levir_mci(tmp_path) / "images/train/label/train_000001.png"
    picture(path, np.full((H, W), 64, np.uint8))
    data = reader("levir_mci", tmp_path, split="train")
    with pytest.raises(UserError, match="holds the values 64, which mean no class"):
        read_array(data[0].class_map)
    picture(path, np.zeros((H, W + 1), np.uint8))
    with pytest.raises(UserError, match="13 x 9 pixels, its image .* 12 x 9"):
        read_array(data[0].class_map)
    path.unlink()
    with pytest.raises(UserError, match="1 of 2 annotated names have no image in .*label"):
        reader("levir_mci", tmp_path, split="train")


def test_second_cc_keeps_both_semantic_maps_in_one(tmp_path: Path) -> None:
    data = reader("second_cc", second(tmp_path), split="test", tasks=["change_caption", "mask"])
    caption, mask = check_pairs(data)
    assert caption.kind == "changed" and len(caption.classes) == 37 and caption.meta == {"no_change_sentences": 0}
    values = read_array(caption.class_map)
    assert caption.classes[values[3, 4]] == "tree to building" and caption.classes[values[8, 0]] == "water to ground"
    assert values[0, 11] == 255 and values[0, 0] == 0 and read_array(mask.mask).sum() == 10
    before, after = split_transitions(values, 6)
    assert (before[3, 4], after[3, 4], before[8, 0], after[8, 0]) == (4, 5, 1, 2)
    assert before[0, 11] == after[0, 11] == 255 and before[0, 0] == after[0, 0] == 0


def test_second_cc_unchanged_sentences_and_foreign_colours(tmp_path: Path) -> None:
    second(tmp_path)
    edit(
        tmp_path / "SECOND-CC-AUG.json",
        lambda c: c["images"][0].update(
            sentences=[{"raw": "no change is occurred ."}, {"raw": "There is no difference"}]
        ),
    )
    picture(tmp_path / "test/sem/A/00012.png", 0)
    data = reader("second_cc", tmp_path, split="test")
    assert data[0].kind == "unchanged"
    with pytest.raises(UserError, match="1 colours that mean no class: #000000"):
        read_array(data[0].class_map)
    (tmp_path / "test/sem/B/00012.png").unlink()
    with pytest.raises(UserError, match="sem/B"):
        reader("second_cc", tmp_path, split="test")


class Known:
    """A map that is there already."""

    def __init__(self, array: Any) -> None:
        self.array, self.key = np.uint8(array), str(array)

    def read(self) -> np.ndarray:
        return self.array


def test_transitions_of_every_class_come_back() -> None:
    a, b = (grid.ravel() + 1 for grid in np.meshgrid(np.arange(15), np.arange(15)))
    both = TransitionMap(Known([np.r_[0, a]]), Known([np.r_[0, b]]), 15).read()
    for found, given_map in zip(split_transitions(both, 15), (a, b), strict=True):
        np.testing.assert_array_equal(found[0], np.r_[0, given_map])
    names = transition_names([f"c{i}" for i in range(15)])
    assert names[both[0, 1 + 3]] == "c3 to c0" and len(names) == 226
    with pytest.raises(UserError, match="differ in size"):
        TransitionMap(Known([[0]]), Known([[0, 0]]), 2).read()
    with pytest.raises(UserError, match="a class beyond 2"):
        TransitionMap(Known([[3]]), Known([[1]]), 2).read()
    with pytest.raises(ValueError, match="1 to 15"):
        TransitionMap(Known([[0]]), Known([[0]]), 16)


# --- A / B / label ---


@pytest.mark.parametrize(
    ("name", "layout", "colour", "what"),
    [
        ("levir_cd", ("val/A", "val/B", "val/label"), 255, "building"),
        ("dsifn_cd", ("val/t1", "val/t2", "val/mask"), 255, "area"),
        ("dsifn_cd", ("val/A", "val/B", "val/label"), 255, "area"),
        ("s2looking", ("val/Image1", "val/Image2", "val/label"), (255, 0, 0), "building"),
        ("s2looking", ("val/Image1", "val/Image2", "val/label"), 255, "building"),
    ],
)
def test_change_folders_as_released(tmp_path: Path, name: str, layout: Any, colour: Any, what: str) -> None:
    folders(tmp_path, *layout, "a1 b2", colour=colour)
    data = reader(name, tmp_path, split="val")
    first, second_pair = check_pairs(data)
    assert data.counts == {"pairs": 2} and (first.task, first.kind) == ("mask", "change")
    assert first.classes == ("no change", what) and first.mask.key != second_pair.mask.key
    expected = np.zeros((H, W), bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(read_array(second_pair.mask), expected)
    np.testing.assert_array_equal(read_array(second_pair.class_map), expected)
    with pytest.raises(UserError, match=f"{name}: .* has none of the layouts for split 'test'.*It holds: val"):
        reader(name, tmp_path, split="test")


def test_change_folders_with_lists_and_by_names(tmp_path: Path) -> None:
    folders(tmp_path, "A", "B", "label", "train_1 train_2 test_1")
    assert [s.id for s in check_pairs(reader("levir_cd", tmp_path, split="train"))] == ["train_1.png", "train_2.png"]
    with pytest.raises(UserError, match=r"no pair of split 'val'.*3 images, none named 'val_\*'"):
        reader("levir_cd", tmp_path, split="val")
    write(tmp_path / "list/val.txt", "test_1.png\n\ntrain_2.png\n")
    data = reader("levir_cd", tmp_path, split="val")
    assert [s.id for s in check_pairs(data)] == [
        "test_1.png",
        "train_2.png",
    ] and data.layout.names == "list/{split}.txt"
    write(tmp_path / "list/val.txt", "test_9.png\n")
    with pytest.raises(UserError, match="1 of 1 annotated names have no image.*test_9.png"):
        reader("levir_cd", tmp_path, split="val")


def test_change_folders_bad_input(tmp_path: Path) -> None:
    folders(tmp_path, "A", "B", "label", "0_1 0_2")
    assert len(check_pairs(reader("dsifn_cd", tmp_path, split="test"))) == 2
    with pytest.raises(UserError, match="it is all 'test': ask for data.split=test"):
        reader("dsifn_cd", tmp_path, split="train")
    for options, message in (
        ({"split": "tset"}, "unknown split of dsifn_cd 'tset'. Did you mean 'test'"),
        ({"layouts": [{"before": "A", "after": "B", "label": "label"}]}, "does not say which pairs are of which split"),
        ({"layouts": [{"before": "A", "mask": "label"}]}, "a layout has before, after, label"),
        ({"response": "here"}, r"has to hold one \[SEG\]"),
    ):
        with pytest.raises(UserError, match=message):
            reader("dsifn_cd", tmp_path, **{"split": "test", **options})
    data = reader("dsifn_cd", tmp_path, split="test")
    picture(tmp_path / "label/0_1.png", np.full((H, W), 7, np.uint8))
    with pytest.raises(UserError, match="holds the values 7, which mean no class. Known: 0, 255"):
        read_array(data[0].mask)
    (tmp_path / "B/0_2.png").unlink()
    with pytest.raises(UserError, match="no image in .*B: 0_2.png. Copy them there, or correct the names"):
        reader("dsifn_cd", tmp_path, split="test")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "split", "pairs"), [("levir_cd", "test", 7), ("levir_cd", "train", 1), ("dsifn_cd", "test", 7)]
)
def test_real_change_folders(name: str, split: str, pairs: int) -> None:
    data = reader(name, Path(os.environ["RSMOE_DATA"]) / name, split=split)
    samples = check_pairs(data)
    assert len(samples) == pairs and all(0.05 < read_array(s.mask).mean() < 0.7 for s in samples)
    noun = data.classes[1]
    for sample in samples:
        facts = facts_of_sample(sample, nouns=[noun], min_pixels=20)
        labels, number = ndimage.label(without_specks(read_array(sample.mask), 20), np.ones((3, 3)))
        assert facts.counts == {noun: number} and facts.changed and labels.max() == number > 0
        made = instructions(facts, kinds=(*KINDS, "mask"))
        assert Counter(s.kind for s in made) == {"changed": 1, "presence": 1, "count": 1, "location": 1, "open": 4,
                                                 "dialogue": 3, "change": 1}  # fmt: skip

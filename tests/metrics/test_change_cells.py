"""Components of changes against scipy, and the nine cells that they lie in; counts, cells and presence in answers."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rsmoe.data.change.answers import parse_cells, parse_counts, parse_presence, write_cells, write_counts
from rsmoe.data.change.cells import CELLS, cell_shares, cells_of
from rsmoe.data.change.facts import facts_of_masks
from rsmoe.data.change.instructions import instructions
from rsmoe.data.rasters.components import label_components

# --- cells and components ---


def test_components_touch_at_corners() -> None:
    labels, number = label_components(np.eye(30))
    assert number == 1 and labels.dtype == np.int32


def test_specks_are_no_change_anywhere() -> None:
    mask = np.zeros((30, 30), bool)
    mask[2:6, 2:6] = mask[29, 29] = True
    facts = facts_of_masks(
        {"road": np.zeros((30, 30)), "building": mask}, id="a", images=PAIR, source="s", min_pixels=4
    )
    assert facts.counts == {"road": 0, "building": 1} and facts.cells["building"] == ("top-left",)
    assert facts.shares[0] == 1 and facts.fraction == 16 / 900 and facts.mask.sum() == 16
    none = facts_of_masks({"building": mask}, id="a", images=PAIR, source="s", min_pixels=17)
    assert not none.changed and none.counts == {"building": 0} and instructions(none)[1].responses == ("No",)


def test_cells_follow_the_share_of_the_change() -> None:
    mask = np.zeros((9, 9), bool)
    for i, name in enumerate(CELLS):
        one = mask.copy()
        one[3 * (i // 3) + 1, 3 * (i % 3) + 1] = True
        assert cells_of(one) == (name,)
    mask[0:5, 0:5] = True  # 9, 6, 6, 4 of 25
    assert cells_of(mask) == ("top-left", "top-center", "center-left", "center-center")
    mask[0, 8] = True  # 1 of 26: below 5 %
    assert "top-right" not in cells_of(mask)
    assert cells_of(np.zeros((4, 4))) == () and cells_of(np.ones((4, 4))) == CELLS


@given(mask=arrays(bool, st.tuples(st.integers(1, 25), st.integers(1, 25))))
@settings(max_examples=80, deadline=None)
def test_a_change_has_a_cell_and_the_cells_mirror_with_it(mask: np.ndarray) -> None:
    assert cell_shares(mask).sum() == pytest.approx(float(mask.any()))
    assert bool(cells_of(mask)) == mask.any()
    if mask.shape[1] % 3 == 0:
        swap = {"left": "right", "right": "left"}
        mirrored = {"-".join(swap.get(part, part) for part in cell.split("-")) for cell in cells_of(mask)}
        assert set(cells_of(mask[:, ::-1])) == mirrored


PAIR = (np.zeros((30, 30, 3), np.uint8), np.zeros((30, 30, 3), np.uint8))


# --- answers ---

NOUNS = st.lists(st.sampled_from(["road", "building", "tree", "water area", "ship", "bush"]), min_size=1, unique=True)


@given(data=st.data(), nouns=NOUNS)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(data: st.DataObject, nouns: list[str]) -> None:
    counts = {noun: data.draw(st.integers(0, 5000)) for noun in nouns}
    assert parse_counts(write_counts(counts), nouns) == counts
    cells = {noun: tuple(c for c in CELLS if data.draw(st.booleans())) for noun in nouns}
    text = write_cells(cells)
    assert parse_cells(text, nouns) == cells
    # ChangeChat's text processor takes the punctuation, and the case
    assert parse_cells(re.sub(r"[.!\"()*#:;~]", "", text.lower()), nouns) == cells
    assert parse_counts(re.sub(r"[.!\"()*#:;~]", "", write_counts(counts).lower()), nouns) == counts


@pytest.mark.parametrize(
    ("text", "road", "building"),
    [
        ("No roads has changed, and no buildings has changed.", 0, 0),
        ("There are no changes in roads or buildings.", 0, 0),
        ("there are no new roads or buildings", 0, 0),
        ("There are 2 new roads and 5 new buildings.", 2, 5),
        ("no new roads and 5 new buildings", 0, 5),
        ("12 buildings; 0 roads", 0, 12),
        ("A road has changed, and twelve buildings have changed.", 1, 12),
        ("2 roads and 3 buildings, and these 2 roads", 2, 3),
    ],
)
def test_counts_in_the_forms_of_changechat(text: str, road: int, building: int) -> None:
    assert parse_counts(text) == {"road": road, "building": building}


@pytest.mark.parametrize(
    "text",
    [
        "", "2 roads", "many buildings and 2 roads", "2 or 3 roads and no buildings", "2-3 roads and 1 building",
        "2 - 3 roads and 1 building", "2.5 roads and 3 buildings", "1,200 buildings and no roads",
        "-2 roads, 3 buildings",
        "more than 3 roads, no buildings", "about 3 roads, no buildings", "2 roads and 3 buildings, 4 roads",
        "roads: 2, buildings: 3", "one hundred and two roads and 3 buildings", "no roads, buildings: 5",
        "no roads and buildings 5", "twenty roads, no buildings", "12345678901234567890 roads and no buildings",
        "2 crossroads and 3 buildings", "no change has occurred", "3 roads were lost among the buildings",
    ],
)  # fmt: skip
def test_counts_are_not_guessed(text: str) -> None:
    assert parse_counts(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "roads: []", "roads: []. buildings: []. roads: [].", "roads: ['top-centre']. buildings: [].",
        "roads: ['TL']. buildings: [].", "roads: ['left']. buildings: [].", "the roads: []. buildings: [].",
        "roads: []. buildings: []. And trees.", "roads: [[]]. buildings: [].",
        "roads: ['top-left' 'top-right'] buildings []",
        "roads: top-left. buildings: none.", "cars: []. roads: []. buildings: [].",
        "roads: ['top-left',]. buildings: [].",
    ],
)  # fmt: skip
def test_cells_are_not_guessed(text: str) -> None:
    assert parse_cells(text) is None


def test_cells_are_a_set_in_one_order() -> None:
    assert parse_cells('Buildings: ["bottom-right", top-left, "top-left"]; roads []') == {
        "road": (),
        "building": ("top-left", "bottom-right"),
    }


def test_presence() -> None:
    for text in ("Yes", "yes.", " YES! ", "Yes, a house was built.", "Yes. Two roads are new."):
        assert parse_presence(text) is True
    for text in ("No", "no.", "No, they are the same."):
        assert parse_presence(text) is False
    for text in ("", "No change has occurred.", "yes. no.", "not", "nope", "yesterday", "yes no", "I think yes", "y"):
        assert parse_presence(text) is None

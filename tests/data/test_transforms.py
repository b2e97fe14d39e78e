"""Turned pictures, their boxes, masks and words; scale and bands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.transforms import SIZE, make, picture
from torch import Tensor

from rsmoe.data import Sample
from rsmoe.data.rasters.images import load_image, picture_size
from rsmoe.data.readers.annotations import is_directional
from rsmoe.data.transforms.directions import has_coordinates, rewrite, turn_sample
from rsmoe.data.transforms.image_cache import ImageCache
from rsmoe.data.transforms.symmetries import SYMMETRIES, inverse, turn_image, turn_vector
from rsmoe.data.transforms.transforms import Transform, Views, resize

ALL = st.sampled_from(SYMMETRIES)
SEEDS = st.integers(0, 2**31)


CACHE = ImageCache(size=SIZE, max_bytes=0)


def mask_of(sample: Sample, seen: Views) -> Tensor:
    numbers = CACHE.numbers(sample)
    assert numbers is not None
    return seen.placed(numbers)


def classes_of(sample: Sample, seen: Views) -> Tensor:
    assert sample.class_map is not None
    return seen.placed(CACHE.class_map(sample.class_map))


def views(sample: Sample, seed: int = 0, **more: Any) -> Views:
    options = {"mean": [0.0] * 3, "std": [1.0] * 3, "augment": True, "jitter": 0.0, "crop_area": 1.0} | more
    transform = Transform(size=SIZE, **options)
    images = [resize(load_image(image), SIZE) for image in sample.images]
    return transform(images, samples=[sample], generator=torch.Generator().manual_seed(seed))


# --- the eight symmetries ---


def test_pictures_and_directions_turn_alike() -> None:
    image = torch.zeros(9, 9)
    image[2, 6] = 1  # upper right
    assert len({tuple(turn_image(torch.arange(4).view(2, 2), g).flatten().tolist()) for g in SYMMETRIES}) == 8
    for g in SYMMETRIES:
        ((row, column),) = turn_image(image, g).nonzero().tolist()
        assert turn_vector((2.0, -2.0), g) == (column - 4.0, row - 4.0)
        assert torch.equal(turn_image(turn_image(image, g), inverse(g)), image)


# --- words ---

CELLS = {
    "top left": (0, 0), "top": (1, 0), "top right": (2, 0), "left": (0, 1), "right": (2, 1),
    "bottom left": (0, 2), "bottom": (1, 2), "bottom right": (2, 2),
}  # fmt: skip
COMPASS = {
    "northwest": (0, 0), "north": (1, 0), "northeast": (2, 0), "west": (0, 1), "east": (2, 1),
    "southwest": (0, 2), "south": (1, 2), "southeast": (2, 2),
}  # fmt: skip
UPPER = {"upper left": (0, 0), "upper right": (2, 0), "lower left": (0, 2), "lower right": (2, 2)}
FORMS = [
    ("{}", CELLS), ("{} side", CELLS), ("a car in the {} of the image .", CELLS), ("a car in the {} part", CELLS),
    ("Is there a car in the {} corner?", CELLS), ("the {} half is green", CELLS),
    ("a car is in the {}, near trees", CELLS),
    ("a car in the {}", COMPASS), ("a road to the {}-{} of town", COMPASS), ("the {}ern part of the area", COMPASS),
    ("The {}ward road", COMPASS), ("{} of the lake", COMPASS),
    ("the {} corner of the scene", UPPER), ("in the {} there is a car", UPPER), ("{}", UPPER),
]  # fmt: skip


@given(st.sampled_from(FORMS), st.data(), ALL, st.sampled_from([" ", "-"]), st.booleans())
def test_the_rewritten_word_names_the_cell_of_the_object(
    form: tuple[str, dict[str, tuple[int, int]]], data: st.DataObject, g: int, joint: str, capital: bool
) -> None:
    template, cells = form
    word, (column, row) = data.draw(st.sampled_from(sorted(cells.items())))
    said = word.replace(" ", joint).capitalize() if capital and template == "{}" else word.replace(" ", joint)
    text = template.replace("{}", said)
    image = torch.zeros(SIZE, SIZE)
    image[row * 16 + 5 : row * 16 + 9, column * 16 + 4 : column * 16 + 12] = 1
    turned = rewrite(text, g)
    assert turned is not None
    y, x = turn_image(image, g).nonzero().float().mean(0).tolist()
    name = next(name for name, cell in cells.items() if cell == (int(x // 16), int(y // 16)))
    assert turned.lower() == template.replace("{}", name.replace(" ", joint)).lower()
    assert rewrite(turned, inverse(g)) == text


WORDS = (
    "left right top bottom upper lower north south east west northeast south-west vertical horizontal above up right "
    "corner side of the image building road river a is on at in to and , . from next clockwise leftmost diagonal an The"
).split()


@given(st.lists(st.sampled_from(WORDS), max_size=9), ALL, ALL)
def test_there_and_back_is_the_same_text(words: list[str], g: int, h: int) -> None:
    text = " ".join(words)
    turned = rewrite(text, g)
    if turned is not None:
        assert rewrite(turned, inverse(g)) == text
    assert rewrite(text, 0) == text


@pytest.mark.parametrize(
    "text, quarter, mirror",
    [
        ("a car on the left .", "a car at the bottom .", "a car on the right ."),
        ("houses at the top appear", "houses on the left appear", "houses at the top appear"),
        (
            "trees on the right turn into a road",
            "trees at the top turn into a road",
            "trees on the left turn into a road",
        ),
        ("from left to right", "from bottom to top", "from right to left"),
        ("a north-south road", "a west-east road", "a north-south road"),
        ("an eastern suburb", "a northern suburb", "a western suburb"),
        ("two vertical roads", "two horizontal roads", "two vertical roads"),
        ("Upper-Left corner", "Lower-Left corner", "Upper-Right corner"),
        ("left, center and right", "bottom, center and top", "right, center and left"),
        ("the leftmost house", "the bottommost house", "the rightmost house"),
        ("turned counterclockwise", "turned counterclockwise", "turned clockwise"),
        ("a top-down view of the left half", "a top-down view of the bottom half", "a top-down view of the right half"),
        ("roads cross diagonally", "roads cross diagonally", "roads cross diagonally"),
        # what reads well in one direction only
        ("a pond to the left of the road", None, "a pond to the right of the road"),
        ("the upper part", None, "the upper part"),
        ("on the right-hand side", None, "on the left-hand side"),
        ("lower left and right", None, "lower right and left"),
        # what may not be a place in the picture
        ("right next to the road", None, None),
        ("trees are left over", None, None),
        ("what is left ?", None, None),
        ("clouds are on top of green mountains", None, "clouds are on top of green mountains"),
        ("the top of the building", None, "the top of the building"),
        ("a house at the top of the hill", None, "a house at the top of the hill"),
        ("a bridge above the river", None, "a bridge above the river"),
        ("two roads vertical to each other", None, "two roads vertical to each other"),
        ("in South Korea", None, "in South Korea"),
        ("in West Virginia", None, None),
        # what does not turn with the picture
        ("the road turns left", None, None),
        ("main diagonal", None, None),
        ("the left wing of the plane", None, None),
        ("the right bank of the river", None, None),
        ("the second row from the left", None, None),
        ("a heading of 45 degrees to the left", None, None),
        ("the car at [10, 20, 30, 40] on the left", None, None),
    ],
)
def test_words_that_turn_and_words_that_do_not(text: str, quarter: str | None, mirror: str | None) -> None:
    assert rewrite(text, 1) == quarter
    assert rewrite(text, 4) == mirror


def test_a_sample_turns_with_all_its_texts_or_not_at_all() -> None:
    history = (("Is it on the left ?", "Yes, on the left."), ("And a tree ?", "No."))
    sample = make(instruction="What is in the upper left ?", responses=("a car", "A car."), history=history)
    sample = replace(sample, directional=True)
    turned = turn_sample(sample, 4)
    assert turned is not None and turned.instruction == "What is in the upper right ?"
    assert turned.responses == sample.responses
    assert turned.history == (("Is it on the right ?", "Yes, on the right."), ("And a tree ?", "No."))
    assert turn_sample(replace(sample, responses=("right next to it",)), 4) is None
    assert turn_sample(make(directional=True, responses=("beside the river",)), 4) is None  # its direction is not seen
    assert turn_sample(make(responses=("{<10><20><30><40>}",)), 4) is None
    assert turn_sample(make(task="ground"), 4) is None
    assert turn_sample(make(), 4) is not None and turn_sample(make(task="ground"), 0) is not None


@pytest.mark.parametrize(
    "question", ["Where is the ship relative to the pier?", "Seen from the pier, where is the ship?"]
)
def test_what_lies_beside_another_thing_turns_within_the_words_of_relations(question: str) -> None:
    places = {(1, 0): "right", (-1, 0): "left", (0, -1): "above", (0, 1): "below"}
    for vector, word in places.items():
        sample = make(instruction=question, responses=(word,), history=((question, word.title()),), directional=True)
        for g in SYMMETRIES:
            x, y = turn_vector(vector, g)
            turned = turn_sample(sample, g)
            assert turned is not None and turned.responses == (places[int(x), int(y)],)
            assert turned.history == ((question, places[int(x), int(y)].title()),)
    assert turn_sample(make(instruction="Where is the ship?", responses=("above",), directional=True), 1) is None


def test_a_diagonal_stays_one() -> None:
    sample = make(instruction="In which direction does the road run?", responses=("diagonal",), directional=True)
    assert all(turn_sample(sample, g) == sample for g in SYMMETRIES)


def test_coordinates_are_seen() -> None:
    for text in ("[12, 30, 45, 60]", "a {<10><20><30><40>|<45>}", "<0.1><2>", "([ 0.5,0.5])"):
        assert has_coordinates(text), text
    for text in ("three (3) cars", "[SEG]", "a < b", "in 2010, two houses"):
        assert not has_coordinates(text), text


# --- everything of a sample together ---


@given(SEEDS, st.integers(0, 2), st.integers(0, 2))
def test_masks_and_words_stay_true(seed: int, column: int, row: int) -> None:
    """A white block of a picture of another shape, in a cell that the text names."""
    names = {cell: name for name, cell in CELLS.items()} | {(1, 1): "center"}
    height, width = 96, 144
    image, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    classes = np.full((height, width), 255, np.uint8)
    x1, y1, x2, y2 = column * 48 + 9, row * 32 + 8, column * 48 + 33, row * 32 + 16
    image[y1:y2, x1:x2], mask[y1:y2, x1:x2], classes[y1:y2, x1:x2] = 255, True, 3
    sample = make(
        images=(image, image), mask=mask, class_map=classes,
        instruction="Where is the car ?", responses=(names[column, row],), directional=(column, row) != (1, 1),
    )  # fmt: skip
    seen = views(sample, seed)
    marked, known = mask_of(sample, seen), classes_of(sample, seen)
    assert torch.equal(seen.pixels[0], seen.pixels[1]) and torch.equal(seen.pixels[0, 0] > 0.5, marked > 0)
    assert torch.equal(known == 3, marked > 0) and set(known.unique().tolist()) == {3, 255}
    rows, columns = marked.nonzero(as_tuple=True)
    turned = turn_sample(sample, seen.symmetry)
    assert turned is not None
    assert turned.responses == (names[int(columns.float().mean() // 16), int(rows.float().mean() // 16)],)


def test_samples_turn_as_far_as_their_words_follow() -> None:
    sample = make(responses=("on the left",), directional=True)
    assert {views(sample, seed).symmetry for seed in range(80)} == set(SYMMETRIES)
    doubtful = replace(sample, responses=("a bridge above the river",))
    assert {views(doubtful, seed).symmetry for seed in range(80)} == {0, 4}


def test_all_samples_of_a_picture_decide_together() -> None:
    free, bound = make(task="caption"), make(responses=("right next to it",), directional=True)
    transform = Transform(size=SIZE, mean=[0.0] * 3, std=[1.0] * 3, augment=True)
    image = resize(picture(), SIZE)

    def seen(*samples: Sample, seed: int) -> Views:
        return transform([image], samples=samples, generator=torch.Generator().manual_seed(seed))

    assert {seen(free, bound, seed=seed).symmetry for seed in range(60)} == {0, 6}
    for seed in range(10):  # whoever comes first
        a, b = seen(free, bound, seed=seed), seen(bound, free, seed=seed)
        assert torch.equal(a.pixels, b.pixels) and a.symmetry == b.symmetry


def test_a_crop_takes_class_maps_along() -> None:
    classes = np.repeat(np.arange(3, dtype=np.uint8), 16)[None].repeat(SIZE, 0)
    image = np.repeat(classes[..., None] * 100, 3, axis=2)
    sample = make(images=(image,), class_map=classes, task="caption")
    cropped = 0
    for seed in range(30):
        seen = views(sample, seed, crop_area=0.5)
        known = classes_of(sample, seen)
        agree = (seen.pixels[0, 0] * 2.55).round() == known
        assert agree.float().mean() > 0.9
        cropped += bool((known == 1).sum() != SIZE * SIZE // 3)
    assert cropped > 20


def test_what_must_not_be_cropped() -> None:
    sample = make(task="caption", responses=("a car at [1, 2, 3, 4]",))
    for uncut in (
        sample,
        make(task="caption", directional=True),
        make(task="caption", mask=np.ones((SIZE, SIZE), bool)),
    ):
        values = views(uncut, 3, crop_area=0.5).pixels.flatten().sort().values
        assert torch.allclose(values, torch.from_numpy(uncut.images[0]).flatten().sort().values / 255)  # type: ignore[arg-type]


def test_the_size_of_a_picture_is_the_upright_one(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0, 10, 30)).save(tmp_path / "a.jpg", exif=exif)
    assert picture_size(tmp_path / "a.jpg") == load_image(tmp_path / "a.jpg").shape[1::-1] == (10, 30)


@pytest.mark.parametrize(
    "word",
    "left right top bottom upper lower above below beneath underneath leftmost topmost north south-west northeastern "
    "eastward westwards southern".split(),
)
def test_no_direction_word_of_the_readers_is_missed(word: str) -> None:
    assert is_directional(word)
    turned = turn_sample(make(responses=(f"trees {word} them",), directional=True), 2)  # half a turn spares none
    assert turned is None or turned.responses != (f"trees {word} them",)


@pytest.mark.parametrize("bands", [1, 3, 4, 6])
@pytest.mark.parametrize("side", [20, 90])
def test_resize_agrees_with_pillow_whatever_the_number_of_bands(bands: int, side: int) -> None:
    image = np.random.default_rng(bands).integers(0, 256, (48, 64, bands), dtype=np.uint8)
    ours = resize(image, side)
    for band in range(bands):
        theirs = np.array(Image.fromarray(image[..., band]).resize((side, side), Image.Resampling.BICUBIC))
        assert np.abs(ours[band].numpy().astype(int) - theirs).max() <= 2


def test_several_masks_are_numbered_and_turned_as_the_picture_is() -> None:
    """Target k is k, in the order of the sample; the one that covers most of a pixel has it, if that is half of it."""
    masks = np.zeros((3, 2 * SIZE, 2 * SIZE), bool)
    masks[0, :, :5], masks[1, :, 5:20], masks[2, 0, 40] = True, True, True  # columns 4 and 5 make one pixel
    image = np.repeat(masks[1][..., None], 3, axis=2).astype(np.uint8) * 255
    asked = make(images=(image,), task="mask", mask=masks.any(0), masks=tuple(masks))
    for seed in range(8):
        seen = views(asked, seed)
        marked = mask_of(asked, seen)
        assert marked.dtype == torch.uint8
        assert sorted(marked.unique().tolist()) == [0, 1, 2]  # a quarter of a pixel is none
        assert int((marked == 1).sum()) == 3 * SIZE and int((marked == 2).sum()) == 7 * SIZE
        assert (seen.pixels[0, 0][marked == 2] > 0.9).all()

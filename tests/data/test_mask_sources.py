"""Masks as files and codes: against hand-made ones, an independent rasteriser, and every kind of damage."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline
from PIL import Image

from rsmoe.data.rasters.class_map_sources import ClassMask, ColourMap, IndexMap
from rsmoe.data.rasters.images import read_array
from rsmoe.data.rasters.mask_sources import FileMask, PolygonMask, RLEMask, UnionMask
from rsmoe.data.rasters.rle import decode_rle, encode_rle
from rsmoe.data.sample import Lazy
from rsmoe.errors import UserError

HALF = np.array([[0, 0, 1], [0, 1, 1]], dtype=bool)
"""Columns: 00, 01, 11; as runs of 0 and 1 down the columns: 3, 3."""


def save(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)
    return path


# --- run lengths ---


def test_runs_go_down_the_columns_and_begin_with_zeros() -> None:
    np.testing.assert_array_equal(RLEMask([3, 3], [2, 3]).read(), HALF)
    np.testing.assert_array_equal(RLEMask([0, 1, 5], (2, 3)).read(), [[1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ([3, 3], "33"),
        ([16, 15], "`0?"),  # 16 would look negative in five bits: it takes a second character
        ([1, 2, 3, 4, 2], "1232O"),  # from the fourth number on, differences: 4 - 2, 2 - 3
        ([100, 1, 99, 2, 100, 3], "T31S3111"),
    ],
)
def test_the_compressed_form_by_hand(runs: list[int], text: str) -> None:
    size = (1, sum(runs))
    mask = decode_rle(runs, size)
    assert encode_rle(mask) == text
    np.testing.assert_array_equal(decode_rle(text, size), mask)


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
@settings(max_examples=150, deadline=None)
def test_decoding_reverses_encoding(mask: np.ndarray) -> None:
    decoded = RLEMask(encode_rle(mask), mask.shape).read()
    assert decoded.dtype == bool and decoded.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(decoded, mask)


@pytest.mark.parametrize("mask", [np.zeros((300, 400), bool), np.ones((300, 400), bool)])
def test_masks_of_one_value(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(RLEMask(encode_rle(mask), mask.shape).read(), mask)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("3", "covers 3 pixels, its size \\[2, 3\\] has 6"),
        ("34", "covers 7 pixels"),
        ("3 3", "is not COCO's compressed form"),
        ("3\x7f", "is not COCO's compressed form"),
        ("3P", "stops within a number"),
        ("P" * 30, "is not COCO's compressed form"),
        ("3O4", "negative run"),
        ([3, -1, 4], "negative run"),
        ([2], "covers 2 pixels"),
    ],
)
def test_damaged_codes(counts: str | list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RLEMask(counts, (2, 3)).read()


@pytest.mark.parametrize(
    ("counts", "size", "message"),
    [
        ({"a": 1}, (2, 3), "a string or whole numbers"),
        ([1.5, 2], (2, 3), "a string or whole numbers"),
        ("33", (2,), r"\[height, width\]"),
        ("33", (2, 0), r"\[height, width\]"),
        ("33", "23", r"\[height, width\]"),
        ("33", (20_000, 20_000), "more than 100,000,000 pixels"),
    ],
)
def test_codes_of_another_type_are_refused_when_they_are_made(counts: object, size: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RLEMask(counts, size)  # type: ignore[arg-type]


# --- polygons ---


def test_a_square_of_ten_is_ten_pixels_wide() -> None:
    mask = PolygonMask([[2, 3, 12, 3, 12, 13, 2, 13]], (20, 20)).read()
    assert mask.sum() == 100 and mask[3:13, 2:12].all()


def test_neighbours_share_no_pixel_and_leave_none() -> None:
    left, right = [[0, 0], [6.5, 0], [3.5, 9], [0, 9]], [[6.5, 0], [9, 0], [9, 9], [3.5, 9]]
    a, b = (PolygonMask([p], (9, 9)).read() for p in (left, right))
    assert not (a & b).any() and (a | b).all()
    np.testing.assert_array_equal(PolygonMask([left, right], (9, 9)).read(), a | b)


def test_a_polygon_over_itself_is_even_odd_and_two_add_up() -> None:
    square = [0, 0, 4, 0, 4, 4, 0, 4]
    assert PolygonMask([square, square], (4, 4)).read().all()
    assert not PolygonMask([square + square], (4, 4)).read().any()


@given(st.lists(st.tuples(st.floats(-20, 60), st.floats(-20, 60)), min_size=3, max_size=3))
@settings(max_examples=150, deadline=None)
def test_triangles_agree_with_matplotlib(triangle: list[tuple[float, float]]) -> None:
    mask = PolygonMask([triangle], (40, 30)).read()
    y, x = np.mgrid[:40, :30] + 0.5
    centres = np.stack([x, y], axis=-1).reshape(-1, 2)
    # a centre within a hair of an edge may fall to either side: only the clear ones are compared
    clear = np.ones(len(centres), dtype=bool)
    corners = np.asarray(triangle)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = np.clip((centres - a) @ (b - a) / max(((b - a) ** 2).sum(), 1e-12), 0, 1)
        clear &= np.linalg.norm(centres - a - along[:, None] * (b - a), axis=1) > 1e-6
    inside = Outline(corners).contains_points(centres)
    np.testing.assert_array_equal(mask.reshape(-1)[clear], inside[clear])


def test_polygons_outside_of_the_picture_are_cut() -> None:
    assert not PolygonMask([[-9, -9, -2, -9, -2, -2]], (5, 5)).read().any()
    assert PolygonMask([[-9, -9, 99, -9, 99, 99, -9, 99]], (5, 7)).read().all()
    assert not PolygonMask([[1, 1, 4, 1, 3, 1]], (5, 5)).read().any()


@pytest.mark.parametrize("polygon", [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [0, 0, 1, 0, 1, float("nan")], ["a"] * 6, {}])
def test_polygons_that_are_none(polygon: list[float]) -> None:
    with pytest.raises(UserError, match="expected a polygon"):
        PolygonMask([polygon], (5, 5))  # type: ignore[arg-type]


# --- files ---


INDICES = np.array([[0, 1, 2], [1, 2, 255]], dtype=np.uint8)


def test_file_masks_by_threshold(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", np.array([[0, 40, 128], [255, 255, 0]], np.uint8))
    np.testing.assert_array_equal(FileMask(path).read(), [[0, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(FileMask(path, above=50).read(), [[0, 0, 1], [1, 1, 0]])
    np.testing.assert_array_equal(FileMask(path, above=128).read(), [[0, 0, 0], [1, 1, 0]])


def test_bits_sixteen_bits_and_equal_bands_count_as_one_band(tmp_path: Path) -> None:
    np.testing.assert_array_equal(FileMask(save(tmp_path / "1.png", HALF)).read(), HALF)
    wide = save(tmp_path / "16.png", np.array([[0, 300]], np.uint16))
    np.testing.assert_array_equal(FileMask(wide, above=255).read(), [[False, True]])
    grey = save(tmp_path / "rgb.png", np.repeat(INDICES[..., None], 3, axis=-1))
    np.testing.assert_array_equal(IndexMap(grey).read(), INDICES)


def test_an_index_map_of_a_paletted_file_is_its_indices(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(IndexMap(tmp_path / "p.png").read(), [[0, 1, 2]])
    by_colour = ColourMap(tmp_path / "p.png", ((0, 200, 0), (200, 0, 0)))
    np.testing.assert_array_equal(by_colour.read(), [[255, 1, 0]])


def test_remapping_and_ignoring(tmp_path: Path) -> None:
    path = save(tmp_path / "i.png", INDICES)
    np.testing.assert_array_equal(IndexMap(path, {1: 0, 2: 1}, (0, 255)).read(), [[255, 0, 1], [0, 1, 255]])
    assert IndexMap(path).read().dtype == np.uint8
    with pytest.raises(UserError, match="holds the values 0, 255, which mean no class. Known: 1, 2"):
        IndexMap(path, {1: 0, 2: 1}, ()).read()
    with pytest.raises(UserError, match="classes from 0 to 254"):
        IndexMap(path, {1: 255})
    with pytest.raises(UserError, match="pixel values from 0 to 65535"):
        IndexMap(path, {-1: 0})


def test_colour_maps(tmp_path: Path) -> None:
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[0, 0], rgb[0, 1], rgb[1, 0] = (60, 16, 152), (132, 41, 246), (155, 155, 155)
    path = save(tmp_path / "c.png", rgb)
    building, land, none = (60, 16, 152), (132, 41, 246), (155, 155, 155)
    np.testing.assert_array_equal(ColourMap(path, (building, land)).read(), [[0, 1], [255, 255]])
    np.testing.assert_array_equal(
        ColourMap(path, (land, building), unlabelled=(none, (0, 0, 0))).read(), [[1, 0], [255, 255]]
    )
    with pytest.raises(UserError, match=r"1 colours that mean no class: #000000 \(1 pixels\)"):
        ColourMap(path, (land, building), unlabelled=(none,)).read()
    with pytest.raises(UserError, match="different colours"):
        ColourMap(path, (land, land))
    with pytest.raises(UserError, match="three numbers from 0 to 255"):
        ColourMap(path, ((1, 2, 300),))


def test_a_lossy_colour_map_is_told_apart_from_a_clean_one(tmp_path: Path) -> None:
    rgb = np.kron(np.array([[[60, 16, 152], [254, 221, 58]]], np.uint8), np.ones((9, 9, 1), np.uint8))
    Image.fromarray(rgb).save(tmp_path / "c.jpg", quality=60)
    with pytest.raises(UserError, match="lossless"):
        ColourMap(tmp_path / "c.jpg", ((60, 16, 152), (254, 221, 58)), unlabelled=()).read()


def test_parts_of_maps_and_unions(tmp_path: Path) -> None:
    source = IndexMap(save(tmp_path / "i.png", INDICES))
    np.testing.assert_array_equal(ClassMask(source, (1,)).read(), INDICES == 1)
    both = UnionMask((ClassMask(source, (1,)), ClassMask(source, (2,))))
    np.testing.assert_array_equal(both.read(), ClassMask(source, (1, 2)).read())
    with pytest.raises(UserError, match="masks of one size"):
        UnionMask((ClassMask(source, (1,)), RLEMask([4], (2, 2)))).read()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no image file"):
        FileMask(tmp_path / "absent.png").read()
    whole = save(tmp_path / "m.png", np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    whole.write_bytes(whole.read_bytes()[:900])
    for source in (FileMask(whole), IndexMap(whole), ColourMap(whole, ((1, 2, 3),))):
        with pytest.raises(UserError, match="truncated or damaged"):
            source.read()
    text = tmp_path / "t.png"
    text.write_text("not a picture")
    with pytest.raises(UserError, match="is not a picture that can be read"):
        FileMask(text).read()
    with pytest.raises(UserError, match="holds colours"):
        IndexMap(save(tmp_path / "c.png", np.arange(12, dtype=np.uint8).reshape(2, 2, 3))).read()
    floats = tmp_path / "f.tif"
    Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(floats)
    with pytest.raises(UserError, match="f.tif holds the value 0.5; expected whole numbers"):
        FileMask(floats).read()


def test_a_mask_of_too_many_pixels_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "m.png", INDICES)
    monkeypatch.setattr("rsmoe.geo.pictures.MAX_PIXELS", 5)
    with pytest.raises(UserError, match="more than 5 pixels"):
        FileMask(path).read()


def test_a_mask_has_to_fit_its_picture(tmp_path: Path) -> None:
    picture = save(tmp_path / "image.png", np.zeros((2, 3, 3), np.uint8))
    turned = save(tmp_path / "turned.png", np.zeros((3, 2, 3), np.uint8))
    path = save(tmp_path / "m.png", INDICES)
    sources: list[Lazy] = []
    for image in (picture, turned):
        sources += [
            FileMask(path, image=image),
            IndexMap(path, image=image),
            ColourMap(path, ((1, 1, 1),), image=image),
            RLEMask([6], (2, 3), image=image),
            PolygonMask([[0, 0, 2, 0, 2, 2]], (2, 3), image=image),
        ]
    for source in sources[:5]:
        assert source.read().shape == (2, 3)
    for source in sources[5:]:
        with pytest.raises(UserError, match="3 x 2 pixels, its image .*turned.png 2 x 3"):
            source.read()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (2, 3)).save(tmp_path / "side.jpg", exif=exif)
    assert FileMask(path, image=tmp_path / "side.jpg").read().shape == (2, 3)  # upright it is 3 x 2


def test_sources_travel_to_workers_and_their_keys_tell_them_apart(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", INDICES)
    sources: list[Lazy] = [
        RLEMask([3, 3], (2, 3)),
        RLEMask([3, 3], (3, 2)),
        RLEMask([2, 4], (2, 3)),
        PolygonMask([[0, 0, 2, 0, 2, 2]], (2, 3)),
        PolygonMask([[0, 0, 2, 0, 2, 1]], (2, 3)),
        FileMask(path),
        FileMask(path, above=1),
        IndexMap(path),
        IndexMap(path, {0: 0, 1: 2, 2: 1}),
        IndexMap(path, ignore=(0, 255)),
        ColourMap(path, ((1, 1, 1),)),
        ColourMap(path, ((1, 1, 1),), ((0, 0, 0), (2, 2, 2), (255, 255, 255))),
        ClassMask(IndexMap(path), (1,)),
        ClassMask(IndexMap(path), (2,)),
        UnionMask((ClassMask(IndexMap(path), (1,)), ClassMask(IndexMap(path), (2,)))),
    ]
    assert len({source.key for source in sources}) == len(sources)
    for source in sources:
        again = pickle.loads(pickle.dumps(source))
        assert again == source and again.key == source.key
        np.testing.assert_array_equal(read_array(again), read_array(source))
    assert RLEMask([3, 3], [2, 3]).key == RLEMask((3, 3), (2, 3)).key
    assert IndexMap(path, {0: 0, 1: 1}).key == IndexMap(path, {1: 1, 0: 0}).key

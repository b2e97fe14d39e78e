"""Readers of semantic maps: every layout and palette, the real Dubai tiles, and Sky-SA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.readers import check_masks, config, lines
from support.readers import save as picture
from support.release_objects import LAYOUTS, H, W, block, geopix, pixels, release, sky

from rsmoe.data.rasters.class_map_sources import ClassMask
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.rasters.mask_sources import UnionMask
from rsmoe.data.readers.geopix_instruct import GeoPixInstruct
from rsmoe.data.readers.semantic_masks import SemanticMasks
from rsmoe.data.readers.sky_sa import SkySA
from rsmoe.errors import UserError
from rsmoe.parts import instantiate

# --- semantic maps ---


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_and_palette(tmp_path: Path, name: str) -> None:
    node = release(tmp_path, name)
    data = instantiate(node | {"requests": "image"})
    (sample,) = check_masks(data)
    assert sample.id == LAYOUTS[name][1] and sample.mask is None and data.counts == {"images": 1, "requests": 1}
    assert sample.classes == tuple(node["classes"]) and sample.meta == node.get("meta", {})
    first = 255 if node.get("ignore") else 0
    expected = [first, *range(len(sample.classes))][:W]
    expected += [expected[-1]] * (W - len(expected))
    np.testing.assert_array_equal(read_array(sample.class_map), np.tile(np.uint8(expected), (H, 1)))
    present = check_masks(instantiate(node | {"requests": "present", "min_pixels": H}))
    assert [s.kind for s in present] == list(sample.classes)[: W - 1]
    for k, one in enumerate(present):
        assert one.instruction == f"Segment the {one.kind}." and one.id == f"{sample.id}:{one.kind}"
        np.testing.assert_array_equal(read_array(one.mask), np.tile(np.asarray(expected) == k, (H, 1)))
    assert len(instantiate(node | {"requests": "every"})) == len(sample.classes)


def test_listed_images_that_a_release_leaves_out_are_counted(tmp_path: Path) -> None:
    node = release(tmp_path, "openearthmap")
    assert instantiate(node).unused == {"listed, but the image is not there": ["xbd_7"]}
    with pytest.raises(UserError, match="1 of 2 listed images are not at .*: xbd_7"):
        instantiate(node | {"incomplete": False})


def test_absent_classes_are_asked_for_only_when_wanted(tmp_path: Path) -> None:
    node = release(tmp_path, "loveda")
    pixels(tmp_path / LAYOUTS["loveda"][2], np.where(block(0, 0, 3, 1), 4, 1))
    assert [s.kind for s in instantiate(node | {"requests": "present"})] == ["background", "water"]
    assert [s.kind for s in instantiate(node | {"requests": "present", "min_pixels": 4})] == ["background"]
    every = instantiate(node | {"requests": "every"})
    assert [bool(read_array(s.mask).any()) for s in every] == [s.kind in ("background", "water") for s in every]
    told = instantiate(node | {"requests": "present", "absent": ["airplane", "ship"]})
    assert [s.kind for s in told] == ["background", "water", "airplane", "ship"] and len({s.id for s in told}) == 4
    assert [bool(read_array(s.mask).any()) for s in told] == [True, True, False, False]
    assert told[2].instruction == "Segment the airplane." and told[2].responses == ("the airplane [SEG]",)
    picture(tmp_path / "Val/Urban/images_png/7.png")
    pixels(tmp_path / "Val/Urban/masks_png/7.png", np.zeros((H, W)))
    data = instantiate(node | {"requests": "present"})
    assert data.unused == {"no class is present": ["Val/Urban/images_png/7.png"]}
    assert data.counts == {"images": 2, "requests": 2}
    with pytest.raises(UserError, match="no image of 'val' has 1000 pixels of any class"):
        instantiate(node | {"requests": "present", "min_pixels": 1000})


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path: Path) -> None:
    node = release(tmp_path, "loveda")
    target = tmp_path / LAYOUTS["loveda"][2]
    target.write_bytes(target.read_bytes()[:45])
    for requests in ("image", "every"):
        sample = instantiate(node | {"requests": requests})[0]
        with pytest.raises(UserError, match="truncated or damaged"):
            read_array(sample.class_map)
    with pytest.raises(UserError, match="truncated or damaged"):
        instantiate(node | {"requests": "present"})


def test_a_wrong_palette_is_found_out(tmp_path: Path) -> None:
    node = release(tmp_path, "dubai_segmentation")
    wrong = {"water": "#50E3C2", "land": "#F5A623", "road": "#DE597F", "building": "#D0021B", "vegetation": "#417505"}
    data = instantiate(node | {"classes": wrong, "requests": "image"})
    with pytest.raises(UserError, match=r"5 colours that mean no class: .*Give this release's palette"):
        read_array(data[0].class_map)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "trian"}, "unknown split of loveda 'trian'. Did you mean 'train'"),
        ({"split": "train"}, "no image of split 'train' at .*Train.*holds: Val"),
        ({"requests": "all"}, "unknown requests of loveda 'all'"),
        ({"classes": {"a": 1, "b": "#000000"}}, "give every class either a colour '#RRGGBB' or a pixel value"),
        ({"classes": {"a": 1}, "ignore": None}, "give every class either"),
        ({"absent": ["airplane"]}, "absent=.* asks for masks, and requests=image for none"),
        ({"absent": ["airplane", "road"], "requests": "every"}, "names a class of the maps, 'road': leave it out"),
        ({"classes": {"a": 1, "b": 1}}, "a value of its own"),
        ({"classes": {"a": 0}}, "a value of its own"),
        ({"classes": {"a": "#00"}, "ignore": None}, "'#00' is not a colour"),
        ({"classes": {"a": "red"}, "ignore": None}, "'red' is not a colour"),
        ({"to_map": {"images": "masks", "RGB": "L"}}, "to_map replaces 'RGB', which is not in 'Val/Rural"),
        ({"to_map": {"images_png": "labels"}}, r"1 of 1 images have no map \(expected .*Val/Rural/labels/4191.png"),
    ],
)
def test_semantic_sets_of_another_layout(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    node = release(tmp_path, "loveda")
    with pytest.raises(UserError, match=message):
        instantiate(node | change)


def test_official_lists_are_complete_and_apart() -> None:
    for name, counts in (("potsdam", {"train": 24, "test": 14}), ("vaihingen", {"train": 16, "test": 17})):
        node = config(name)
        assert {split: len(set(stems)) for split, stems in node["names"].items()} == counts
        assert not set(node["names"]["train"]) & set(node["names"]["test"])
        assert {split: each["images"] for split, each in node["official"].items()} == counts


@pytest.mark.real_data
def test_dubai_real_tiles() -> None:
    node = config("dubai_segmentation")
    data = {split: instantiate(node | {"split": split}) for split in ("train", "val", "test")}
    assert [d.counts["images"] for d in data.values()] == [27, 9, 9]
    shares = dict.fromkeys(node["classes"], 0.0)
    for each in data.values():
        assert not each.unused
        for sample in each:
            pixels = int(read_array(sample.mask).sum())  # which refuses a mask of another size than its image
            assert pixels >= 50
            shares[sample.kind] += pixels
    total = sum(shares.values())
    # counted once from the files with Pillow alone; masks of fewer than 50 pixels are left out here
    expected = {"building": 4250475, "unpaved land": 12734564, "road": 2769580, "vegetation": 1416465, "water": 8837912}
    assert {k: round(v / total, 3) for k, v in shares.items()} == {
        k: round(v / sum(expected.values()), 3) for k, v in expected.items()
    }


@pytest.mark.real_data
def test_dubai_masks_lie_where_the_image_says() -> None:
    """Classes tell more of the brightness of their pixels than the same map does when it is turned or mirrored."""
    right, wrong = [], []
    for sample in instantiate(config("dubai_segmentation") | {"split": "val", "requests": "image"}):
        grey = load_image(sample.images[0]).mean(axis=-1).reshape(-1)
        classes = read_array(sample.class_map)
        for each, into in (
            (classes, right),
            (classes[::-1], wrong),
            (classes[:, ::-1], wrong),
            (classes[::-1, ::-1], wrong),
        ):
            index = np.unique(each, return_inverse=True)[1].reshape(-1)
            means = np.bincount(index, grey) / np.bincount(index)
            into.append(means[index].var() / grey.var())
    assert min(right) > max(wrong) and np.mean(right) > 5 * np.mean(wrong)


# --- Sky-SA ---


def test_sky_sa_has_a_list_of_classes_for_every_image(tmp_path: Path) -> None:
    data = instantiate(config("sky_sa") | {"root": str(sky(tmp_path)), "split": "train"})
    lot, wing, sea = check_masks(data)
    assert data.counts == {"images": 2, "regions": 4, "classes": 3, "requests": 3}
    assert data.unused == {"no class": ["/x/img_dir/c.jpg"]}
    assert lot.classes == wing.classes == ("parking lot", "left wing") and sea.classes == ("sea",)
    np.testing.assert_array_equal(read_array(lot.class_map)[0], [0, 0, 1, 1, 0, 0, *[255] * 6])
    np.testing.assert_array_equal(read_array(lot.mask)[0], [1, 1, 0, 0, 1, 1, *[0] * 6])
    assert read_array(sea.mask).all() and sea.instruction == "Segment the sea."
    assert [s.directional for s in (lot, wing, sea)] == [False, True, False]
    assert lot.id == "a:parking lot" and isinstance(lot.mask, ClassMask)


def test_sky_sa_values_beyond_the_list_are_an_error(tmp_path: Path) -> None:
    pixels(sky(tmp_path) / "ann_dir/b.png", np.full((H, W), 1))
    data = SkySA(root=str(tmp_path), split="train")
    with pytest.raises(UserError, match="holds the values 1, which mean no class. Known: 0, 255"):
        read_array(data[2].mask)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"flickr_url": "a.jpg", "ann_list": []}, "line 1: no key 'segmentation'"),
        ({"flickr_url": "a.jpg", "segmentation": "a.png", "ann_list": [{}]}, r"ann_list\[0\]: no key 'category_name'"),
        ({"flickr_url": "a.jpg", "segmentation": "a.png", "ann_list": [{"category_name": " "}]}, "empty category_name"),
        (
            {"flickr_url": "a.jpg", "segmentation": "a.png", "ann_list": [{"category_name": "x"}] * 256},
            "256 classes in one image",
        ),
        ({"flickr_url": "a.jpg", "segmentation": "z.png", "ann_list": [{"category_name": "x"}]}, r"\(masks\): 1 of 1"),
        ({"flickr_url": "a.jpg", "segmentation": "a.png", "ann_list": []}, "names no class"),
    ],
)
def test_sky_sa_of_another_format(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    lines(sky(tmp_path) / "skysa_dataset.jsonl", [row])
    with pytest.raises(UserError, match=message):
        SkySA(root=str(tmp_path), split="train")
    with pytest.raises(UserError, match="unknown split of sky_sa 'test'. Known: train"):
        SkySA(root=str(tmp_path), split="test")


def test_several_masks_stay_lazy(tmp_path: Path) -> None:
    data = GeoPixInstruct(root=str(geopix(tmp_path)), split="train", parts=("SIOR", "FAST"), targets="image")
    assert isinstance(data[0].mask, UnionMask)
    assert isinstance(instantiate(release(tmp_path, "loveda")), SemanticMasks)

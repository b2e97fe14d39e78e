"""Readers with masks: tiny releases in each layout, the real Dubai tiles, and every kind of broken release."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from readers import config, lines
from readers import save as picture

from rsmoe.config import instantiate
from rsmoe.data.geopix_instruct import GeoPixInstruct
from rsmoe.data.images import load_image, read_array
from rsmoe.data.mask_sources import ClassMask, UnionMask
from rsmoe.data.refsegrs import RefSegRS
from rsmoe.data.rle import encode_rle
from rsmoe.data.rrsis_d import RRSISD
from rsmoe.data.sample import Sample
from rsmoe.data.semantic_masks import SemanticMasks
from rsmoe.data.sky_sa import SkySA
from rsmoe.errors import UserError

H, W = 8, 12


def pixels(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path)
    return path


def block(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((H, W), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


def check(data: Any) -> list[Sample]:
    """What holds for every reader with masks."""
    samples = [data[i] for i in range(len(data))]
    assert len({s.id for s in samples}) == len(samples) == len(data) > 0
    assert data.protocol == "" and all(isinstance(n, int) for n in data.counts.values())
    assert isinstance(data.unused, dict) and isinstance(data.official, dict)
    for sample in samples:
        assert sample.task == "mask" and sample.source == data.name
        assert all(response.count("[SEG]") == 1 for response in sample.responses)
        for part, dtype in ((sample.mask, bool), (sample.class_map, np.uint8)):
            if part is not None:
                array = read_array(part)
                assert array.dtype == dtype and array.shape == load_image(sample.images[0]).shape[:2]
    again = pickle.loads(pickle.dumps(data))
    assert [again[i].id for i in range(len(again))] == [s.id for s in samples]
    return samples


# --- GeoPixInstruct ---

ROOF, SHIP = block(1, 2, 5, 6), block(6, 0, 12, 3)


def instance(key: str, category: str, description: str, mask: np.ndarray, bbox: list[int]) -> dict[str, Any]:
    code = {"counts": encode_rle(mask), "size": [H, W]}
    return {
        "instance_id": key, "category": category, "category_id": 3, "description": description, "bbox": bbox,
        "mask": code,
    }  # fmt: skip


def geopix(root: Path) -> Path:
    two = [
        instance("a", "stadium", "The stadium on the left.", ROOF, [1, 2, 5, 6]),
        instance("b", "ship", "the long ship", SHIP, [6, 0, 12, 3]),
        instance("c", "ship", " ", SHIP, [6, 0, 12, 3]),
    ]
    one = [instance("a", "bridge", "the bridge", SHIP, [6, 0, 12, 3])]
    lines(
        root / "train.SIOR_T.jsonl",
        [{"image_id": "00012", "image_path": "/home/x/trainval/00012.jpg", "instances": two}],
    )
    lines(root / "train.FAST_T.jsonl", [{"image_id": "00012", "image_path": "00012.png", "instances": one}])
    picture(root / "SIOR/images/00012.jpg", 10)
    picture(root / "FAST/images/00012.png", 20)
    return root


def read_geopix(root: Path, **more: Any) -> GeoPixInstruct:
    return GeoPixInstruct(root=str(root), split="train", parts=("SIOR", "FAST"), **more)


def test_geopix_one_instance_a_sample(tmp_path: Path) -> None:
    data = read_geopix(geopix(tmp_path))
    stadium, ship, bridge = check(data)
    assert data.counts == {"images": 2, "instances": 4, "requests": 3}
    assert data.unused == {"no description": ["SIOR/00012:c"]}
    assert stadium.instruction == "Segment this: The stadium on the left." and stadium.kind == "stadium"
    assert stadium.responses == ("the stadium is here [SEG]",) and stadium.directional and not ship.directional
    np.testing.assert_array_equal(read_array(stadium.mask), ROOF)
    assert stadium.boxes_px is None and stadium.labels == ()
    assert ship.images[0].parent.parent.name == "SIOR" and bridge.images[0].parent.parent.name == "FAST"


def test_geopix_several_targets_in_one_answer(tmp_path: Path) -> None:
    both, bridge = check(read_geopix(geopix(tmp_path), targets="image"))
    assert both.instruction == "Segment all of these: (1) The stadium on the left; (2) the long ship."
    assert both.responses == ("these 2 are here: stadium, ship [SEG]",) and both.kind == "several"
    np.testing.assert_array_equal(read_array(both.mask), ROOF | SHIP)
    assert bridge.instruction == "Segment this: the bridge"


def test_geopix_boxes_only_under_a_declared_convention(tmp_path: Path) -> None:
    both, _ = check(read_geopix(geopix(tmp_path), targets="image", boxes="pixel_xyxy"))
    np.testing.assert_array_equal(both.boxes_px, np.float32([[1, 2, 5, 6], [6, 0, 12, 3]]))
    assert both.boxes_px.dtype == np.float32 and both.labels == ("stadium", "ship")
    with pytest.raises(UserError, match=r"instances\[1\].*no box on a picture of 12 x 8 .*'pixel_xywh'"):
        read_geopix(tmp_path, boxes="pixel_xywh")
    with pytest.raises(UserError, match="unknown box convention 'xyxy'"):
        read_geopix(tmp_path, boxes="xyxy")
    with pytest.raises(UserError, match="four numbers, and 'pixel_obb' is of oriented ones"):
        read_geopix(tmp_path, boxes="pixel_obb")


def test_geopix_validation_is_the_releases_valid(tmp_path: Path) -> None:
    (geopix(tmp_path) / "train.FAST_T.jsonl").rename(tmp_path / "valid.FAST_T.jsonl")
    data = instantiate(config("geopix_instruct") | {"root": str(tmp_path), "split": "val", "parts": ["FAST"]})
    assert [s.kind for s in data] == ["bridge"] and data.official["val"] == {"images": 3649}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[0].pop("image_path"), r"SIOR_T.jsonl, line 1: no key 'image_path'"),
        (lambda rows: rows[0]["instances"][1].pop("mask"), r"line 1, instances\[1\]: no key 'mask'"),
        (lambda rows: rows[0]["instances"][0]["mask"].pop("counts"), r"instances\[0\].mask: no key 'counts'"),
        (lambda rows: rows[0]["instances"][0]["mask"].update(size=[8]), r"instances\[0\]: expected the size"),
        (lambda rows: rows[0].update(image_path="99.jpg"), "1 of 1 annotated names have no image"),
        (lambda rows: rows.append("{nonsense"), r"line 2, is not json"),
        (lambda rows: rows.clear(), "holds no described instance"),
    ],
)
def test_geopix_of_another_format(tmp_path: Path, spoil: Callable[[list[Any]], None], message: str) -> None:
    path = geopix(tmp_path) / "train.SIOR_T.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    spoil(rows)
    lines(path, rows)
    with pytest.raises(UserError, match=message):
        GeoPixInstruct(root=str(tmp_path), split="train", parts=("SIOR",))


def test_geopix_wrong_arguments(tmp_path: Path) -> None:
    geopix(tmp_path)
    with pytest.raises(UserError, match="unknown part of geopix_instruct 'SIORR'. Did you mean 'SIOR'"):
        GeoPixInstruct(root=str(tmp_path), split="train", parts=("SIORR",))
    with pytest.raises(UserError, match="unknown targets .*'images'. Did you mean 'image'"):
        read_geopix(tmp_path, targets="images")
    with pytest.raises(UserError, match="unknown split of geopix_instruct 'valid'. Did you mean 'val'"):
        GeoPixInstruct(root=str(tmp_path), split="valid")
    with pytest.raises(UserError, match="valid.SIOR_T.jsonl does not exist. .* holds: FAST"):
        GeoPixInstruct(root=str(tmp_path), split="val")


# --- RRSIS-D ---


def rrsis(root: Path) -> Path:
    code = {"counts": encode_rle(ROOF), "size": [H, W]}
    other = {"counts": encode_rle(SHIP), "size": [H, W]}
    coco = {
        "images": [{"id": i, "file_name": f"{i:05d}.jpg", "height": H, "width": W} for i in range(4)],
        "categories": [{"id": 7, "name": "vehicle"}, {"id": 8, "name": "dam"}],
        "annotations": [
            {"id": 10, "image_id": 0, "category_id": 7, "segmentation": [code]},
            {"id": 11, "image_id": 1, "category_id": 8, "segmentation": [code, other]},
            {"id": 12, "image_id": 2, "category_id": 8, "segmentation": [[1, 2, 5, 2, 5, 6, 1, 6]]},
            {"id": 13, "image_id": 3, "category_id": 7, "segmentation": other},
        ],
    }
    refs = [
        {
            "ref_id": 100 + i, "ann_id": 10 + i, "image_id": i, "split": split, "category_id": 7,
            "sentences": [{"sent_id": i, "raw": text, "sent": text.lower(), "tokens": text.split()} for text in texts],
        }
        for i, (split, texts) in enumerate(
            [("train", ["The vehicle on the left", "a car."]), ("train", ["the dam"]), ("train", ["a dam", " "]),
             ("test", ["the vehicle"])]
        )
    ]  # fmt: skip
    lines(root / "rrsisd/instances.json", [coco])
    (root / "rrsisd/refs(unc).p").write_bytes(pickle.dumps(refs))
    for i in range(4):
        picture(root / f"images/rrsisd/JPEGImages/{i:05d}.jpg")
    return root


def test_rrsis_d_reads_codes_and_polygons(tmp_path: Path) -> None:
    data = instantiate(config("rrsis_d") | {"root": str(rrsis(tmp_path)), "split": "train"})
    samples = check(data)
    assert data.counts == {"images": 3, "references": 3, "sentences": 4}
    assert data.unused == {"empty sentence": ["102:1"]}
    assert [s.instruction for s in samples[:2]] == ["Segment The vehicle on the left.", "Segment a car."]
    assert [s.kind for s in samples] == ["vehicle", "vehicle", "dam", "dam"]
    assert [s.directional for s in samples] == [True, False, False, False]
    for sample, mask in zip(samples, (ROOF, ROOF, ROOF | SHIP, ROOF), strict=True):
        np.testing.assert_array_equal(read_array(sample.mask), mask)
    (only,) = check(RRSISD(root=str(tmp_path), split="test"))
    np.testing.assert_array_equal(read_array(only.mask), SHIP)


def test_rrsis_d_sentences_as_json(tmp_path: Path) -> None:
    refs = rrsis(tmp_path) / "rrsisd/refs(unc).p"
    lines(tmp_path / "refs.json", [pickle.loads(refs.read_bytes())])
    refs.unlink()
    assert len(RRSISD(root=str(tmp_path), split="train", refs="refs.json")) == 4


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_rrsis_d_runs_no_code_of_its_pickle(tmp_path: Path) -> None:
    refs = rrsis(tmp_path) / "rrsisd/refs(unc).p"
    refs.write_bytes(pickle.dumps([Attack(tmp_path / "owned")]))
    with pytest.raises(UserError, match="no pickle of plain lists and dicts: it asks for "):
        RRSISD(root=str(tmp_path), split="train")
    assert not (tmp_path / "owned").exists()
    for content in (b"", b"\x80\x04]", b"hello", pickle.dumps({"refs": []})):
        refs.write_bytes(content)
        with pytest.raises(UserError, match="no pickle of plain|list of references"):
            RRSISD(root=str(tmp_path), split="train")


@pytest.mark.parametrize(
    ("key", "index", "change", "message"),
    [
        ("annotations", 0, {"id": 99}, r"\[0\]: ann_id 10 is not in instances.json"),
        ("images", 0, {"id": 99}, r"\[0\]: image_id 0 is not in instances.json"),
        ("categories", 0, {"id": 99}, "annotation 10: category_id 7 is not in"),
        ("annotations", 1, {"segmentation": []}, "annotation 11: no segmentation"),
        ("annotations", 2, {"segmentation": [[1, 2]]}, "annotation 12: expected a polygon"),
        ("annotations", 0, {"segmentation": [{"counts": 3, "size": [H, W]}]}, "annotation 10: .*whole numbers"),
        ("images", 2, {"file_name": "absent.jpg"}, "1 of 3 annotated names have no image"),
    ],
)
def test_rrsis_d_of_another_format(tmp_path: Path, key: str, index: int, change: dict[str, Any], message: str) -> None:
    path = rrsis(tmp_path) / "rrsisd/instances.json"
    coco = json.loads(path.read_text())
    coco[key][index] |= change
    lines(path, [coco])
    with pytest.raises(UserError, match=message):
        RRSISD(root=str(tmp_path), split="train")


def test_rrsis_d_masks_of_another_size_than_their_image(tmp_path: Path) -> None:
    picture(rrsis(tmp_path) / "images/rrsisd/JPEGImages/00000.jpg", size=(W * 2, H * 2))
    data = RRSISD(root=str(tmp_path), split="train")
    with pytest.raises(UserError, match="12 x 8 pixels, its image .*00000.jpg 24 x 16"):
        read_array(data[0].mask)


# --- RefSegRS ---


def refsegrs(root: Path) -> Path:
    lines(root / "output_phrase_train.txt", ["0 road  markings", "1 vehicle along the left road.", "", "1 bus"])
    lines(root / "output_phrase_val.txt", ["2 impervious surface"])
    lines(root / "output_phrase_test.txt", ["3"])
    for i in range(4):
        picture(root / f"images/{i}.tif")
        pixels(root / f"masks/{i}.tif", block(i, 1, i + 2, 4) * 255)
    return root


def test_refsegrs_lines(tmp_path: Path) -> None:
    node = config("refsegrs") | {"root": str(refsegrs(tmp_path))}
    data = instantiate(node | {"split": "train"})
    samples = check(data)
    assert [s.id for s in samples] == ["0", "1:2", "1:4"] and data.counts == {"images": 2, "phrases": 3}
    assert samples[0].instruction == "Segment road markings." and samples[1].directional
    assert samples[1].instruction == "Segment vehicle along the left road."
    np.testing.assert_array_equal(read_array(samples[2].mask), block(1, 1, 3, 4))
    assert len(instantiate(node | {"split": "val"})) == 1
    with pytest.raises(UserError, match="1 lines are not <id> <phrase>: line 1 '3'"):
        instantiate(node | {"split": "test"})


def test_refsegrs_missing_files(tmp_path: Path) -> None:
    (refsegrs(tmp_path) / "masks/2.tif").unlink()
    split = {"lines": {"val": "output_phrase_val.txt", "train": "gone.txt"}, "root": str(tmp_path)}
    with pytest.raises(UserError, match=r"refsegrs \(masks\): 1 of 1 annotated names have no image"):
        RefSegRS(split="val", **split)
    with pytest.raises(UserError, match="gone.txt does not exist"):
        RefSegRS(split="train", **split)
    with pytest.raises(UserError, match="unknown split of refsegrs 'test'"):
        RefSegRS(split="test", **split)
    lines(tmp_path / "gone.txt", [""])
    with pytest.raises(UserError, match="holds no line"):
        RefSegRS(split="train", **split)


# --- semantic maps ---

LAYOUTS = {
    "dubai_segmentation": ("train", "Tile 2/images/image_part_001.jpg", "Tile 2/masks/image_part_001.png"),
    "loveda": ("val", "Val/Rural/images_png/4191.png", "Val/Rural/masks_png/4191.png"),
    "isaid": ("train", "train/images/P0000.png", "train/Semantic_masks/images/P0000_instance_color_RGB.png"),
    "potsdam": ("test", "2_Ortho_RGB/top_potsdam_2_13_RGB.tif", "5_Labels_all/top_potsdam_2_13_label.tif"),
    "vaihingen": ("train", "top/top_mosaic_09cm_area1.tif", "gts/top_mosaic_09cm_area1.tif"),
    "uavid": ("val", "uavid_val/seq16/Images/000100.png", "uavid_val/seq16/Labels/000100.png"),
    "openearthmap": ("train", "aachen/images/aachen_1.tif", "aachen/labels/aachen_1.tif"),
}
"""A split, an image and its map, in the layout of each release."""


def value(written: str | int) -> Any:
    return tuple(bytes.fromhex(written[1:])) if isinstance(written, str) else written


def release(root: Path, name: str) -> dict[str, Any]:
    """One image whose column k is class k - 1, and whose column 0 means nothing where something may; its config."""
    node = config(name)
    split, image, target = LAYOUTS[name]
    written = list(node["classes"].values())
    ignore = node.get("ignore") or [written[0]]
    columns = [ignore[0], *written][:W]
    columns += [columns[-1]] * (W - len(columns))
    picture(root / image)
    pixels(
        root / target, np.tile(np.asarray([value(c) for c in columns]), (H, 1, *(1,) * (isinstance(written[0], str))))
    )
    if name == "openearthmap":
        lines(root / "train.txt", ["aachen_1.tif", "xbd_7.tif"])
    if node.get("names") and not isinstance(node["names"][split], str):
        node["names"] = {split: [Path(image).stem]}
    return node | {"root": str(root), "split": split}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_and_palette(tmp_path: Path, name: str) -> None:
    node = release(tmp_path, name)
    data = instantiate(node | {"requests": "image"})
    (sample,) = check(data)
    assert sample.id == LAYOUTS[name][1] and sample.mask is None and data.counts == {"images": 1, "requests": 1}
    assert sample.classes == tuple(node["classes"]) and sample.meta == node.get("meta", {})
    first = 255 if node.get("ignore") else 0
    expected = [first, *range(len(sample.classes))][:W]
    expected += [expected[-1]] * (W - len(expected))
    np.testing.assert_array_equal(read_array(sample.class_map), np.tile(np.uint8(expected), (H, 1)))
    present = check(instantiate(node | {"requests": "present", "min_pixels": H}))
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


def sky(root: Path) -> Path:
    def row(stem: str, *names: str) -> dict[str, Any]:
        entries = [{"category_name": name} for name in names]
        return {"flickr_url": f"/x/img_dir/{stem}.jpg", "segmentation": f"/x/{stem}.png", "ann_list": entries}

    rows = [row("a", "parking lot", "left wing", "parking lot"), row("b", "sea"), row("c")]
    lines(root / "skysa_dataset.jsonl", rows)
    a = np.full((H, W), 255)
    for k in range(3):
        a[:, 2 * k : 2 * k + 2] = k
    pixels(root / "ann_dir/a.png", a)
    pixels(root / "ann_dir/b.png", np.zeros((H, W)))
    for stem in "abc":
        picture(root / f"img_dir/{stem}.jpg")
    return root


def test_sky_sa_has_a_list_of_classes_for_every_image(tmp_path: Path) -> None:
    data = instantiate(config("sky_sa") | {"root": str(sky(tmp_path)), "split": "train"})
    lot, wing, sea = check(data)
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
    data = read_geopix(geopix(tmp_path), targets="image")
    assert isinstance(data[0].mask, UnionMask)
    assert isinstance(instantiate(release(tmp_path, "loveda")), SemanticMasks)

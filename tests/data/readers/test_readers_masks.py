"""Readers of described masks: GeoPixInstruct, RRSIS-D and RefSegRS in tiny releases, and every kind of broken one."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.readers import check_masks, config, lines
from support.readers import save as picture
from support.release_objects import ROOF, SHIP, H, W, block, geopix, refsegrs, rrsis

from rsmoe.data.rasters.images import read_array
from rsmoe.data.readers.geopix_instruct import GeoPixInstruct
from rsmoe.data.readers.refsegrs import RefSegRS
from rsmoe.data.readers.rrsis_d import RRSISD
from rsmoe.errors import UserError
from rsmoe.parts import instantiate

# --- GeoPixInstruct ---


def read_geopix(root: Path, **more: Any) -> GeoPixInstruct:
    return GeoPixInstruct(root=str(root), split="train", parts=("SIOR", "FAST"), **more)


def test_geopix_one_instance_a_sample(tmp_path: Path) -> None:
    data = read_geopix(geopix(tmp_path))
    stadium, ship, bridge = check_masks(data)
    assert data.counts == {"images": 2, "instances": 4, "requests": 3}
    assert data.unused == {"no description": ["SIOR/00012:c"]}
    assert stadium.instruction == "Segment this: The stadium on the left." and stadium.kind == "stadium"
    assert stadium.responses == ("the stadium is here [SEG]",) and stadium.directional and not ship.directional
    np.testing.assert_array_equal(read_array(stadium.mask), ROOF)
    assert stadium.boxes_px is None and stadium.labels == ()
    assert ship.images[0].parent.parent.name == "SIOR" and bridge.images[0].parent.parent.name == "FAST"


def test_geopix_several_targets_in_one_answer(tmp_path: Path) -> None:
    both, bridge = check_masks(read_geopix(geopix(tmp_path), targets="image"))
    assert both.instruction == "Segment all of these: (1) The stadium on the left; (2) the long ship."
    assert both.responses == ("these 2 are here: stadium [SEG], ship [SEG]",) and both.kind == "several"
    np.testing.assert_array_equal(read_array(both.mask), ROOF | SHIP)
    assert [read_array(mask).tolist() for mask in both.masks] == [ROOF.tolist(), SHIP.tolist()] and not bridge.masks
    assert bridge.instruction == "Segment this: the bridge"


def test_geopix_boxes_only_under_a_declared_convention(tmp_path: Path) -> None:
    both, _ = check_masks(read_geopix(geopix(tmp_path), targets="image", boxes="pixel_xyxy"))
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


def test_rrsis_d_reads_codes_and_polygons(tmp_path: Path) -> None:
    data = instantiate(config("rrsis_d") | {"root": str(rrsis(tmp_path)), "split": "train"})
    samples = check_masks(data)
    assert data.counts == {"images": 3, "references": 3, "sentences": 4}
    assert data.unused == {"empty sentence": ["102:1"]}
    assert [s.instruction for s in samples[:2]] == ["Segment The vehicle on the left.", "Segment a car."]
    assert [s.kind for s in samples] == ["vehicle", "vehicle", "dam", "dam"]
    assert [s.directional for s in samples] == [True, False, False, False]
    for sample, mask in zip(samples, (ROOF, ROOF, ROOF | SHIP, ROOF), strict=True):
        np.testing.assert_array_equal(read_array(sample.mask), mask)
    (only,) = check_masks(RRSISD(root=str(tmp_path), split="test"))
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
    assert {s.images[0].name for s in data} == {"00001.jpg", "00002.jpg"}
    (said,) = data.unused["size not as stated"]
    assert said == "instances.json, 00000.jpg, stated as 12 x 8, is 24 x 16"


# --- RefSegRS ---


def test_refsegrs_lines(tmp_path: Path) -> None:
    node = config("refsegrs") | {"root": str(refsegrs(tmp_path))}
    data = instantiate(node | {"split": "train"})
    samples = check_masks(data)
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

"""Boxes and masks in the json of COCO: NWPU VHR-10 as it is, a tiny release, and broken ones."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.readers import reader, save
from support.release_objects import coco

from rsmoe.data.boxes import parse
from rsmoe.data.rasters.images import picture_size, read_array
from rsmoe.data.readers.coco_instances import COCOInstances
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.metrics.regions.grounding import grounding_row, grounding_tally, hbb_iou

picture = partial(save, size=(100, 80))


def said(sample: Sample) -> np.ndarray:
    """The boxes of a sample's own response."""
    parsed = parse(sample.responses[0], convention=sample.meta["box_convention"], size_px=sample.meta["size_px"])
    assert parsed.failures == 0
    return parsed.boxes


# ---- NWPU VHR-10, the real files


@pytest.fixture(scope="module")
def nwpu() -> dict[str, COCOInstances]:
    return {split: reader("nwpu_vhr10", None, split) for split in ("train", "val", "test")}


@pytest.mark.real_data
def test_nwpu_is_read_whole(nwpu: dict[str, COCOInstances]) -> None:
    assert sum(data.counts["images"] for data in nwpu.values()) == 98
    assert sum(data.counts["boxes"] for data in nwpu.values()) == 563
    assert all(data.unused == {} for data in nwpu.values())
    images = [{s.images[0] for s in data} for data in nwpu.values()]
    assert not images[0] & images[1] and not images[0] & images[2] and not images[1] & images[2]
    labels = Counter(label for data in nwpu.values() for s in data if s.task == "ground" for label in s.labels)
    assert labels["airplane"] == 142 and labels["bridge"] == 25 and len(labels) == 10
    for data in nwpu.values():
        assert Counter(s.task for s in data) == {task: data.counts[task] for task in ("ground", "mask", "vqa")}
        assert len({s.id for s in data}) == len(data)


@pytest.mark.real_data
def test_nwpu_words_boxes_masks_and_counts_agree(nwpu: dict[str, COCOInstances]) -> None:
    rows = []
    for sample in nwpu["test"]:
        stem, category, task = sample.id.split(":")
        if task == "ground":
            width, height = picture_size(sample.images[0])  # type: ignore[arg-type]
            assert sample.meta["size_px"] == (width, height) and sample.directional
            boxes = sample.boxes_px
            assert boxes is not None and boxes.dtype == np.float32 and len(boxes) == len(sample.labels)
            assert (boxes >= 0).all() and (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
            assert np.abs(said(sample) - boxes).max() <= max(width, height) / 200 + 1e-3
            parsed = parse(sample.responses[0], convention="minigpt", size_px=(width, height))
            rows.append(grounding_row(parsed, boxes))
            beside = {s.id: s for s in nwpu["test"] if s.id.startswith(f"{stem}:{category}:")}
            assert beside[f"{stem}:{category}:vqa"].responses == (str(len(boxes)),)
            mask = read_array(beside[f"{stem}:{category}:mask"].mask)  # type: ignore[arg-type]
            assert mask.shape == (height, width)
            y, x = np.nonzero(mask)
            around = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]])
            together = np.array([[*boxes[:, :2].min(0), *boxes[:, 2:].max(0)]])
            assert hbb_iou(around, together).item() > 0.9, sample.id
            area = sum((b[2] - b[0]) * (b[3] - b[1]) for b in boxes)
            assert 0.2 * area < mask.sum() <= 1.05 * area, sample.id
    values = grounding_tally(rows).values()
    assert values["acc@0.5"] > 0.95 and values["parse_failures"] == 0, "what 100 steps a side cost"


# ---- COCO


def instances(root: Path, split: str = "test", **keys: Any) -> COCOInstances:
    return COCOInstances(
        root=str(root), split=split, name="tiny", annotations={"test": "a.json"}, images="imgs", **keys
    )


def test_coco(tmp_path: Path) -> None:
    data = instances(coco(tmp_path))
    by_id = {s.id: s for s in data}
    assert set(by_id) == {"7:cargo_ship:ground", "7:cargo_ship:mask", "7:cargo_ship:vqa", "7:car:mask"}
    ground = by_id["7:cargo_ship:ground"]
    assert ground.instruction == "Locate every cargo ship." and ground.kind == "cargo_ship"
    assert ground.boxes_px is not None and ground.boxes_px.tolist() == [[10, 20, 30, 50], [60, 8, 70, 12]]
    assert ground.responses == ("{<10><25><30><62>}<delim>{<60><10><70><15>}",)
    assert by_id["7:cargo_ship:vqa"].responses == ("2",) and by_id["7:cargo_ship:vqa"].kind == "count"
    mask = read_array(by_id["7:cargo_ship:mask"].mask)  # type: ignore[arg-type]
    expected = np.zeros((80, 100), dtype=bool)
    expected[20:50, 10:30] = expected[8:12, 60:70] = True
    assert (mask == expected).all()
    several = by_id["7:cargo_ship:mask"]
    assert [int(read_array(one).sum()) for one in several.masks] == [600, 40] and several.every
    assert several.boxes_px is not None and several.boxes_px.tolist() == ground.boxes_px.tolist()
    assert by_id["7:car:mask"].boxes_px is None, "a crowd is no box"
    assert data.counts == {"images": 2, "boxes": 2, "ground": 1, "mask": 2, "vqa": 1}
    assert data.unused == {"no area": ["a.json, 7.jpg, annotation 4"], "crowd": ["3"], "no instance": ["9.jpg"]}


def test_coco_asks_in_vain(tmp_path: Path) -> None:
    names = [{"id": i, "name": name} for i, name in ((2, "cargo_ship"), (5, "car"), (6, "bridge"), (7, "harbor"))]
    root = coco(tmp_path, categories=names)
    assert [s.id for s in instances(root, tasks=["mask"], absent=1)][:2] == ["7:car:mask", "7:cargo_ship:mask"]
    for absent, expected in ((1, 1), (2, 2), (9, 2)):
        asked = instances(root, tasks=["mask"], absent=absent)
        assert sum(s.id.startswith("9:") for s in asked) == min(absent, 4), "a picture without any is asked too"
        vain = [s for s in asked if s.id in ("7:bridge:mask", "7:harbor:mask")]
        assert len(vain) == expected
        for sample in vain:
            mask = read_array(sample.mask)  # type: ignore[arg-type]
            assert mask.shape == (80, 100) and not mask.any() and sample.every
            assert sample.boxes_px is not None and sample.boxes_px.shape == (0, 4)


def test_coco_settings(tmp_path: Path) -> None:
    root = coco(tmp_path)
    few = instances(root, max_boxes=1, convention="lhrs", tasks=["ground", "vqa"])
    assert [s.task for s in few] == ["vqa"] and few.unused["more than 1 boxes"] == ["1", "2"]
    asked = instances(root, tasks=["ground"], convention="lhrs", prompts={"ground": "[refer] {name}"})
    assert asked[0].instruction == "[refer] cargo ship" and asked[0].responses[0].startswith("[0.100, 0.250,")
    with pytest.raises(UserError, match="oriented boxes"):
        instances(root, convention="earthdial")
    with pytest.raises(UserError, match="split of tiny 'val'"):
        instances(root, split="val")
    with pytest.raises(UserError, match="unknown task 'mosk'"):
        instances(root, tasks=["mosk"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": {}}, "'annotations' should be list"),
        ({"annotations": [{"image_id": 1, "category_id": 2}]}, "there is no image 1"),
        ({"annotations": [{"image_id": 7, "category_id": 2}]}, "1 of 1 boxes .*None is no box"),
        ({"annotations": [{"image_id": 7, "category_id": 2, "bbox": [1, 2, 3]}]}, r"\[1, 2, 3\] is no box"),
        ({"annotations": []}, "holds no instance"),
        ({"images": [{"id": 7, "file_name": "8.jpg"}]}, "have no image"),
        ({"images": [{"id": 7, "file_name": "7.jpg", "width": 100}]}, "image 7: .*found 100, null"),
    ],
)
def test_broken_coco(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        instances(coco(tmp_path, **changes))

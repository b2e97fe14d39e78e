"""Readers of boxes: NWPU VHR-10 as it is, DIOR-RSVG, RSVG and DOTA in tiny releases, and every broken one."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from readers import reader, save

from rsmoe.data.boxes import parse
from rsmoe.data.coco_instances import COCOInstances
from rsmoe.data.dior_rsvg import DIORRSVG
from rsmoe.data.dota import DOTA
from rsmoe.data.ground_sample import ground_sample
from rsmoe.data.images import picture_size, read_array
from rsmoe.data.rsvg import RSVG
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.metrics.grounding import Grounding, hbb_iou
from rsmoe.metrics.obb import obb_iou

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
    labels = Counter(label for data in nwpu.values() for s in data for label in s.labels)
    assert labels["airplane"] == 142 and labels["bridge"] == 25 and len(labels) == 10
    for data in nwpu.values():
        assert Counter(s.task for s in data) == {task: data.counts[task] for task in ("ground", "mask", "vqa")}
        assert len({s.id for s in data}) == len(data)


@pytest.mark.real_data
def test_nwpu_words_boxes_masks_and_counts_agree(nwpu: dict[str, COCOInstances]) -> None:
    metric = Grounding()
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
            metric.update([parsed], [boxes])
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
    values = metric.compute()
    assert values["acc@0.5"] > 0.95 and values["parse_failures"] == 0, "what 100 steps a side cost"


# ---- COCO


def coco(root: Path, **changes: Any) -> Path:
    """Two pictures, 100 x 80: two ships and a crowd of cars; one picture without any."""
    square = [[10, 20, 30, 20, 30, 50, 10, 50]]
    rle = {"size": [80, 100], "counts": [8 + 80 * 60, 4] + [76, 4] * 9 + [80 * 100 - 8 - 80 * 60 - 4 - 80 * 9]}
    rows = [
        {"id": 1, "image_id": 7, "category_id": 2, "bbox": [10, 20, 20, 30], "segmentation": square, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 2, "bbox": [60, 8, 10, 4], "segmentation": rle, "iscrowd": 0},
        {"id": 3, "image_id": 7, "category_id": 5, "bbox": [0, 0, 50, 10], "segmentation": square, "iscrowd": 1},
        {"id": 4, "image_id": 7, "category_id": 2, "bbox": [5, 5, 0, 4], "segmentation": square, "iscrowd": 0},
    ]
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in (7, 9)],
        "categories": [{"id": 2, "name": "cargo_ship"}, {"id": 5, "name": "car"}],
        "annotations": rows,
    } | changes
    for i in (7, 9):
        picture(root / "imgs" / f"{i}.jpg")
    (root / "a.json").write_text(json.dumps(content))
    return root


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
    assert data.counts == {"images": 2, "boxes": 2, "ground": 1, "mask": 2, "vqa": 1}
    assert data.unused == {"no area": ["4"], "crowd": ["3"], "no instance": ["9.jpg"]}


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
        ({"annotations": [{"image_id": 7, "category_id": 2}]}, "no key 'bbox'"),
        ({"annotations": [{"image_id": 7, "category_id": 2, "bbox": [1, 2, 3]}]}, "'bbox' should be 4 numbers"),
        ({"annotations": []}, "holds no instance"),
        ({"images": [{"id": 7, "file_name": "8.jpg"}]}, "have no image"),
        ({"images": [{"id": 7, "file_name": "7.jpg"}]}, "no key 'width'"),
    ],
)
def test_broken_coco(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        instances(coco(tmp_path, **changes))


# ---- DIOR-RSVG


def xml(number: int, *objects: tuple[str, tuple[int, int, int, int], str]) -> str:
    body = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin>"
        f"<xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox><description>{text}</description></object>"
        for name, b, text in objects
    )
    size = "<size><width>800</width><height>600</height><depth>3</depth></size>"
    return f"<annotation><filename>{number:05}.jpg</filename>{size}<segmented>0</segmented>{body}</annotation>"


@pytest.fixture
def dior(tmp_path: Path) -> Path:
    """Files written in the wrong order: the numbers count in the order of their names."""
    pages = {
        12: xml(12, ("ship", (80, 60, 160, 120), "The ship on the left."), ("ship", (1, 2, 1, 9), "flat")),
        2: xml(2, ("dam", (0, 0, 800, 600), "A  grey dam"), ("vehicle", (400, 300, 440, 330), "")),
        30: xml(30, ("airport", (10, 20, 30, 40), "An airport")),
    }
    for number, page in pages.items():
        picture(tmp_path / "JPEGImages" / f"{number:05}.jpg", size=(800, 600))
        path = tmp_path / "Annotations" / f"{number:05}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(page)
    for split, numbers in {"train": "0\n2\n1\n", "val": "3\n4\n", "test": "4"}.items():
        (tmp_path / f"{split}.txt").write_text(numbers)
    return tmp_path


def test_dior_rsvg(dior: Path) -> None:
    data = reader("dior_rsvg", dior, "train")
    assert isinstance(data, DIORRSVG) and data.official["test"] == {"expressions": 7500}
    dam, ship = data
    assert dam.id == "0" and dam.instruction == "Where is this: A grey dam?" and dam.images[0].name == "00002.jpg"
    assert dam.responses == ("{<0><0><100><100>}",) and dam.labels == ("dam",)
    assert ship.id == "2" and ship.images[0].name == "00012.jpg", "objects are counted, not images"
    assert ship.instruction == "Where is this: The ship on the left?" and ship.task == "ground" and ship.kind == "ship"
    np.testing.assert_array_equal(said(ship), ship.boxes_px)
    assert data.counts == {"images": 2, "expressions": 2} and data.unused == {"no expression": ["1"]}
    val = reader("dior_rsvg", dior, "val", convention="vhm", prompt="[grounding] {expression}")
    assert [s.id for s in val] == ["4"] and val.unused == {"no area": ["3"]}
    assert val[0].instruction == "[grounding] An airport" and val[0].responses == ("[012, 033, 038, 067]",)


def test_broken_dior_rsvg(dior: Path) -> None:
    def refused(message: str, split: str = "test", **keys: Any) -> None:
        with pytest.raises(UserError, match=message):
            reader("dior_rsvg", dior, split, **keys)

    refused("split of dior_rsvg 'trian'.*Did you mean 'train'", split="trian")
    refused("unknown box convention 'geochat'", convention="geochat")
    (dior / "val.txt").unlink()
    refused("val.txt does not exist", split="val")
    (dior / "train.txt").write_text("0\n5\n9\n")
    refused(r"2 of 3 numbers count beyond the 5 objects.*\[5, 9\]", split="train")
    (dior / "train.txt").write_text("00002.jpg\n3\n")
    refused("1 of them no numbers", split="train")
    (dior / "JPEGImages" / "00030.jpg").unlink()
    refused("1 of 1 annotated names have no image")
    page = dior / "Annotations" / "00030.xml"
    whole = page.read_text()
    page.write_text(whole.replace("<xmin>10</xmin>", "<xmin>ten</xmin>"))
    refused("00030.xml: <bndbox/xmin> should be a number, found 'ten'")
    page.write_text(whole.replace("description", "expression"))
    refused("no <description> in <object>")
    page.write_text(whole[:100])
    refused("00030.xml is not xml")


# ---- RSVG


def rsvg(root: Path, rows: Any) -> Path:
    picture(root / "images" / "a.png", size=(200, 100))
    torch.save(rows, root / "rsvg_test.pth")
    return root


def test_rsvg(tmp_path: Path) -> None:
    rows = [("a.png", [20, 10, 60, 50], "The bridge.", 3), ("a.png", torch.tensor([0.5, 1, 9, 7]), " two  ships "),
            ("a.png", [1, 2, 3, 4], " ")]  # fmt: skip
    data = reader("rsvg", rsvg(tmp_path, rows), "test")
    assert isinstance(data, RSVG)
    assert [s.instruction for s in data] == ["Where is this: The bridge?", "Where is this: two ships?"]
    assert data[0].boxes_px.tolist() == [[20, 10, 60, 50]] and data[0].responses == ("{<10><10><30><50>}",)
    assert data.counts == {"images": 1, "expressions": 2} and data.unused == {"no expression": ["2"]}
    other = reader("rsvg", tmp_path, "test", box_convention="pixel_xywh")
    assert other[0].boxes_px.tolist() == [[20, 10, 80, 60]]


class Code:
    def __reduce__(self) -> Any:
        return (print, ("this ran",))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("a.png", [20, 10, 60, 150], "x")],
            r"\[0\]: \[20.0, 10.0, 60.0, 150.0\] is no box.*200 x 100.*pixel_xyxy",
        ),
        ([("a.png", [60, 10, 20, 50], "x")], "is no box"),
        ([("a.png", [1, 2, 3], "x")], r"rsvg_test.pth, \[0\]: expected"),
        ([("a.png", "x", [1, 2, 3, 4])], "expected .image file, four numbers, expression."),
        ([("b.png", [1, 2, 3, 4], "x")], "have no image"),
        ({"a": 1}, "should hold a list of rows"),
        ([], "should hold a list of rows"),
        ([Code()], "not a list of plain values"),
    ],
)
def test_broken_rsvg(tmp_path: Path, rows: Any, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=message):
        reader("rsvg", rsvg(tmp_path, rows), "test")
    assert "this ran" not in capsys.readouterr().out


# ---- DOTA

TILTED = "40 20 70 50 60 60 30 30"  # a ship 42.4 long and 14.1 wide; its right end lies lower: +45 degrees


@pytest.fixture
def dota(tmp_path: Path) -> Path:
    labels = {
        "P0001": f"imagesource:GoogleEarth\ngsd:0.146\n{TILTED} ship 0\n10 10 20 10 20 20 10 20 ship 1\n"
        "0 0 30.5 0 30.5 10 0 10 small-vehicle 0\n",
        "P0002": "imagesource:GF\ngsd:null\n1 1 5 1 5 5 1 5 plane 1\n",
    }
    for stem, text in labels.items():
        picture(tmp_path / "train" / "images" / f"{stem}.png", size=(100, 100))
        path = tmp_path / "train" / "labelTxt" / f"{stem}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_dota(dota: Path) -> None:
    data = reader("dota", dota, "train")
    assert isinstance(data, DOTA)
    ship, vehicle = data
    assert ship.id == "P0001:ship" and vehicle.instruction == "Locate every small vehicle."
    assert ship.obb_px is not None and ship.boxes_px is not None
    np.testing.assert_allclose(ship.obb_px, [[50, 40, 30 * 2**0.5, 10 * 2**0.5, 45]], atol=1e-4)
    np.testing.assert_allclose(ship.boxes_px, [[30, 20, 70, 60]], atol=1e-4)
    assert ship.responses == ("{<50><40><42><14>|<45>}",) and ship.directional
    assert obb_iou(said(ship), ship.obb_px).item() > 0.95
    assert ship.meta["gsd_m"] == 0.146 and ship.meta["sensor"] == "GoogleEarth" and ship.labels == ("ship",)
    assert data.counts == {"images": 2, "boxes": 2, "difficult": 2, "requests": 2}
    assert data.unused == {"no object": ["P0002"]} and data.official["val"] == {"images": 458}


def test_dota_settings(dota: Path) -> None:
    every = reader("dota", dota, "train", difficult=True)
    assert [len(s.labels) for s in every] == [2, 1, 1] and every.counts["difficult"] == 0
    assert "gsd_m" not in every[2].meta and every[2].meta["sensor"] == "GF"
    few = reader("dota", dota, "train", difficult=True, max_boxes=1)
    assert few.unused == {"more than 1 boxes": ["P0001:ship"]} and len(few) == 2
    upright = reader("dota", dota, "train", convention="teochat")
    assert upright[0].responses == ("[30, 20, 70, 60]",) and upright[0].obb_px is not None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 3 4 5 6 7 ship 0", "P0002.txt, line 4: expected x1 y1"),
        ("1 2 3 4 5 6 7 x ship 0", "line 4"),
        ("1 2 3 4 5 6 7 nan ship 0", "line 4"),
        ("1 2 3 4 5 6 7 8 ship -", "line 4"),
    ],
)
def test_broken_dota(dota: Path, line: str, message: str) -> None:
    with (dota / "train" / "labelTxt" / "P0002.txt").open("a") as file:
        file.write(line)
    with pytest.raises(UserError, match=message):
        reader("dota", dota, "train")


def test_dota_without_labels_pictures_or_objects(dota: Path) -> None:
    with pytest.raises(UserError, match="test has no labels"):
        reader("dota", dota, "test")
    with pytest.raises(UserError, match="holds no object"):
        reader("dota", dota, "train", max_boxes=0)
    (dota / "train" / "images" / "P0001.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="P0001.png is not a picture"):
        reader("dota", dota, "train")
    (dota / "train" / "images" / "P0001.png").unlink()
    with pytest.raises(UserError, match="1 of 2 annotated names have no image"):
        reader("dota", dota, "train")


def test_a_ground_sample_keeps_what_an_answer_is_read_by() -> None:
    boxes = np.array([[10, 20, 30, 40]], dtype=np.float32)
    sample = ground_sample(
        id="a", image=Path("a.png"), size_px=(100, 80), instruction="x", boxes=boxes, convention="lhrs", source="s"
    )
    assert sample.meta == {"box_convention": "lhrs", "size_px": (100, 80)} and sample.directional
    assert sample.obb_px is None and sample.responses == ("[0.100, 0.250, 0.300, 0.500]",)

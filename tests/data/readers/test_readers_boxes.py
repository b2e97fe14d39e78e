"""Readers of boxes: DIOR-RSVG, RSVG and DOTA in tiny releases, and every broken one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.readers import reader, save
from support.release_objects import dior as write_dior
from support.release_objects import dota as write_dota
from support.release_objects import rsvg

from rsmoe.data.boxes import parse
from rsmoe.data.readers.dior_rsvg import DIORRSVG
from rsmoe.data.readers.dota import DOTA
from rsmoe.data.readers.reader import Reader
from rsmoe.data.readers.rsvg import RSVG
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.metrics.regions.obb import obb_iou

picture = partial(save, size=(100, 80))


def said(sample: Sample) -> np.ndarray:
    """The boxes of a sample's own response."""
    parsed = parse(sample.responses[0], convention=sample.meta["box_convention"], size_px=sample.meta["size_px"])
    assert parsed.failures == 0
    return parsed.boxes


# ---- DIOR-RSVG


@pytest.fixture
def dior(tmp_path: Path) -> Path:
    return write_dior(tmp_path)


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
    assert [s.id for s in val] == ["4"] and val.unused == {"no area": ["00012.xml, 00012.jpg, object 3"]}
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


@pytest.fixture
def dota(tmp_path: Path) -> Path:
    return write_dota(tmp_path)


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
    sample = Reader(name="s", split="test")._make_ground("a", Path("a.png"), (100, 80), "x", boxes, convention="lhrs")
    assert sample.meta == {"box_convention": "lhrs", "size_px": (100, 80)} and sample.directional
    assert sample.obb_px is None and sample.responses == ("[0.100, 0.250, 0.300, 0.500]",)

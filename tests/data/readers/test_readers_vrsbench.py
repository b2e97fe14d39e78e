"""VRSBench: captions, expressions and questions, a tiny release of its two forms, and every kind of broken one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.readers import reader, same, write
from support.release_questions import CORNER, thing, vrsbench

from rsmoe.data.boxes import parse
from rsmoe.errors import UserError

ALL = ["vqa", "ground", "caption"]


def test_vrsbench_train_has_exact_boxes_of_three_tasks(tmp_path: Path) -> None:
    train = reader("vrsbench_captions", vrsbench(tmp_path), tasks=ALL, val_fraction=0.0)
    same(train)
    assert train.counts == {"images": 40, "captions": 40, "expressions": 1, "questions": 2}
    assert train.unused == {"empty answer": ["P0000_0000:question:2"]}
    caption, ship, many, place = (train[i] for i in range(4))
    assert (caption.task, caption.instruction, caption.responses) == (
        "caption",
        "Describe the image in detail.",
        ("A harbor.",),
    )
    assert caption.images == (tmp_path / "Images_train/P0000_0000.png",)  # named after the file, whatever "image" says
    assert ship.task == "ground" and ship.instruction == "Where is this: The large ship in the middle?"
    np.testing.assert_allclose(ship.boxes_px, [[50, 25, 150, 75]])
    np.testing.assert_allclose(ship.obb_px[0, :2], [100, 50])
    assert ship.responses == ("{<25><25><75><75>}",) and ship.labels == ("ship",) and ship.kind == "ship"
    assert ship.directional and ship.meta == {"unique": True, "box_convention": "vrsbench", "size_px": (200, 100)}
    assert (many.task, many.kind, many.responses, many.directional) == ("vqa", "object quantity", ("2",), False)
    assert place.kind == "object position" and place.directional


def test_vrsbench_obb_is_that_of_the_corners(tmp_path: Path) -> None:
    """On a square picture the square on its corner is a square turned by 45 degrees."""
    data = reader("vrsbench_captions", vrsbench(tmp_path), "test", tasks=["ground"])
    cx, cy, w, h, angle = data[0].obb_px[0]
    np.testing.assert_allclose([cx, cy, w, h], [256, 256, 256 / 2**0.5, 256 / 2**0.5], rtol=1e-5)
    assert abs(angle) == pytest.approx(45, abs=1e-3)


def test_vrsbench_test_is_the_three_evaluation_files(tmp_path: Path) -> None:
    data = reader("vrsbench_captions", vrsbench(tmp_path), "test", tasks=ALL)
    same(data)
    assert data.counts == {"images": 1, "captions": 1, "expressions": 2, "questions": 1}
    caption, ship, line, question = data
    assert caption.directional and caption.responses == ("Ships at the left.",) and caption.meta == {"question_id": 7}
    np.testing.assert_allclose(ship.boxes_px, [[128, 204.8, 168.96, 307.2]], rtol=1e-6)
    assert ship.responses == ("{<25><40><33><60>}",) and ship.meta["unique"] is False
    assert line.boxes_px[0, 1] == line.boxes_px[0, 3] == 0  # nothing can hit it, and it stays in the denominator
    assert question.responses == ("Yes",) and question.kind == "object color"
    again = parse(ship.responses[0], convention=ship.meta["box_convention"], size_px=ship.meta["size_px"])
    np.testing.assert_array_equal(again.boxes, ship.boxes_px)
    lhrs = reader("vrsbench_captions", tmp_path, "test", tasks=["ground"], convention="lhrs")[0]
    assert lhrs.responses == ("[0.250, 0.400, 0.330, 0.600]",) and lhrs.meta["box_convention"] == "lhrs"
    assert reader("vrsbench_captions", tmp_path, "test").counts == {"images": 1, "captions": 1}


def test_vrsbench_val_never_tears_a_picture_apart(tmp_path: Path) -> None:
    train, val = (
        reader("vrsbench_captions", vrsbench(tmp_path), split, val_fraction=0.2) for split in ("train", "val")
    )
    pictures = [{s.images[0].name[:5] for s in data} for data in (train, val)]
    assert not pictures[0] & pictures[1] and len(val) == 8 and len(train) == 32


def test_vrsbench_leaves_out_what_cannot_be_asked(tmp_path: Path) -> None:
    things = [
        thing(),
        {"obj_cls": "ship"},
        thing(obj_coord=[0.5, 0.5, 0.5, 0.9]),
        thing(obj_coord=[-0.1, 0.0, 1.2, 0.5]),
    ]
    data = reader("vrsbench_captions", vrsbench(tmp_path, things), tasks=["ground"], val_fraction=0.0)
    assert data.unused == {
        "object without a sentence": ["P0000_0000:object:1"],
        "no area": ["P0000_0000.json, P0000_0000.png, objects[2]"],
    }
    np.testing.assert_allclose(data[1].boxes_px, [[0, 0, 200, 50]])  # clipped to the picture


def test_vrsbench_refuses(tmp_path: Path) -> None:
    root = vrsbench(tmp_path)
    with pytest.raises(UserError, match="unknown task of vrsbench 'mask'"):
        reader("vrsbench_captions", root, tasks=["mask"])
    with pytest.raises(UserError, match="writes oriented boxes"):
        reader("vrsbench_captions", root, convention="geochat_clockwise")
    with pytest.raises(UserError, match="Known: test, train"):
        reader("vrsbench_captions", root, "val", val_fraction=0.0)
    with pytest.raises(UserError, match="holds nothing"):
        reader("vrsbench_captions", root, tasks=[])
    with pytest.raises(UserError, match="names no file for ground"):
        reader("vrsbench_captions", root, "test", tasks=ALL, test_annotations={"caption": "c", "vqa": "v"})
    for more, message in (
        ({"obj_corner": CORNER[:7]}, r"objects\[0\]: 'obj_corner' should be 8 numbers"),
        ({"obj_coord": [0, 0, 1, float("nan")]}, "'obj_coord' should be 4 numbers"),
        ({"obj_coord": "0 0 1 1"}, "'obj_coord' should be list"),
    ):
        vrsbench(root, [thing(**more)])
        with pytest.raises(UserError, match=message):
            reader("vrsbench_captions", root, tasks=["ground"], val_fraction=0.0)
    row = {"image_id": "00002_0000.png", "question": "x", "obj_cls": "ship", "obj_corner": CORNER}
    for truth in ("{<60><40><33><60>}", "[25, 40, 33, 60]", "{<1><1><2><2>}{<1><1><2><2>}"):
        write(root / "VRSBench_EVAL_referring.json", [row | {"ground_truth": truth}])
        with pytest.raises(UserError, match="boxes do not fit|holds nothing"):
            reader("vrsbench_captions", root, "test", tasks=["ground"])[0]
    write(root / "VRSBench_EVAL_Cap.json", {"rows": []})
    with pytest.raises(UserError, match="expected a list of objects"):
        reader("vrsbench_captions", root, "test")
    (root / "Images_train/P0003_0007.png").unlink()
    with pytest.raises(UserError, match=r"1 of 40 .*P0003_0007\.png"):
        reader("vrsbench_captions", root, val_fraction=0.0)
    with pytest.raises(UserError, match=r"no folder .*Unpack Annotations_train\.zip"):
        reader("vrsbench_captions", root, annotations="absent")

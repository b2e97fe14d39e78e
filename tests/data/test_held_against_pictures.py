"""Annotations held against their pictures: every reader of boxes and masks, and every way in which they do not fit."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from support.readers import lines, reader, save, write
from support.release_change import folders, levir_mci
from support.release_conversations import talk
from support.release_objects import LAYOUTS, ROOF, H, W, geopix, refsegrs, release, rrsis, rsvg, sky, xml
from support.release_questions import CORNER, thing, vrsbench
from support.release_web_pairs import shard

from rsmoe.commands.inspect import inspect
from rsmoe.data.boxes import hbb_of_obb, hold_boxes
from rsmoe.data.corpus import build_corpus
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.rasters.mask_sources import PolygonMask
from rsmoe.data.rasters.rle import encode_rle
from rsmoe.data.readers.coco_instances import COCOInstances
from rsmoe.data.readers.dota import DOTA
from rsmoe.data.readers.reader import left_out
from rsmoe.errors import UserError
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import score
from rsmoe.parts import instantiate

SIZE = (200, 100)
GOOD, OVER, OUT = [20, 20, 90, 80], [150, 50, 260, 140], [300, 10, 360, 60]
"""Of a picture of `SIZE`: inside, over its edge, and outside of it."""


def own(root: Path, boxes: list[Any], **more: Any) -> Any:
    save(root / "a.png", size=SIZE)
    rows = [{"image": "a.png", "instruction": "?", "task": "ground", "boxes": [box]} for box in boxes]
    lines(root / "train.jsonl", rows)
    return reader("own_jsonl", root, **({"box_convention": "minigpt"} | more))


def own_oriented(root: Path) -> Any:
    boxes = [[100, 50, 60, 30, 30], [195, 50, 60, 30, 30], [10, 95, 80, 40, -45], [400, 50, 20, 10, 0]]
    return own(root, boxes, box_convention="vrsbench_obb_v1_clockwise")


def own_csv(root: Path) -> Any:
    save(root / "a.png", size=SIZE)
    boxes = "".join(f'a.png,?,ground,"{json.dumps([box])}"\n' for box in (GOOD, OVER, OUT))
    write(root / "train.csv", "image,instruction,task,boxes\n" + boxes)
    return reader("own_csv", root, box_convention="pixel_xyxy")


def corners(x1: float, y1: float, x2: float, y2: float) -> str:
    return f"{x1} {y1} {x2} {y1} {x2} {y2} {x1} {y2}"


def dota(root: Path, **more: Any) -> Any:
    save(root / "train/images/P1.png", size=SIZE)
    tilted = "150 60 190 20 230 60 190 100"
    text = [f"{corners(*GOOD)} ship 0", f"{corners(*OVER)} plane 0", f"{corners(*OUT)} plane 0", f"{tilted} harbor 0"]
    write(root / "train/labelTxt/P1.txt", "\n".join(text))
    return reader("dota", root, **more)


def dior(root: Path) -> Any:
    save(root / "JPEGImages/00001.jpg", size=(800, 600))
    boxes = ((0, 0, 801, 601), (700, 500, 900, 700), (900, 10, 950, 60), (50, 60, 400, 300))
    write(root / "Annotations/00001.xml", xml(1, *(("ship", box, f"ship {k}") for k, box in enumerate(boxes))))
    write(root / "train.txt", "0\n1\n2\n3\n")
    return reader("dior_rsvg", root)


def coco(root: Path, rows: list[dict[str, Any]], **changes: Any) -> COCOInstances:
    save(root / "imgs/7.jpg", size=SIZE)
    content = {
        "images": [{"id": 7, "file_name": "7.jpg", "width": SIZE[0], "height": SIZE[1]}],
        "categories": [{"id": 2, "name": "ship"}, {"id": 5, "name": "car"}],
        "annotations": [{"id": i, "image_id": 7, "category_id": 2} | row for i, row in enumerate(rows, start=1)],
    }
    write(root / "a.json", content | changes)
    return COCOInstances(root=str(root), split="test", name="tiny", annotations={"test": "a.json"}, images="imgs")


def square(x1: float, y1: float, x2: float, y2: float) -> dict[str, Any]:
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]]}


def vrsbench_train(root: Path) -> Any:
    boxes = ([0.1, 0.2, 0.5, 0.8], [0.7, 0.5, 1.3, 1.4], [1.2, 0.1, 1.5, 0.6])
    return reader(
        "vrsbench_captions", vrsbench(root, [thing(obj_coord=b) for b in boxes]), val_fraction=0.0, tasks=["ground"]
    )


def vrsbench_test(root: Path) -> Any:
    vrsbench(root)
    row = {"image_id": "00002_0000.png", "question": "x", "obj_cls": "ship", "obj_corner": CORNER}
    truths = ("{<25><40><33><60>}", "{<1><1><52><52>}", "{<60><40><140><60>}")
    write(root / "VRSBench_EVAL_referring.json", [row | {"ground_truth": truth} for truth in truths])
    return reader("vrsbench_captions", root, "test", tasks=["ground"])


def conversations(root: Path, name: str, answers: list[str], **more: Any) -> Any:
    save(root / "images/a.png", size=SIZE)
    rows = [
        {"id": i, "image": "a.png", "conversations": talk("<image>\nWhere?", text)} for i, text in enumerate(answers)
    ]
    write(root / "train.json", rows)
    files = {"train": [{"path": "train.json", "images": "images", "task": "ground"}]}
    return reader(name, root, files=files, tags={}, **more)


BOXED: dict[str, tuple[Callable[[Path], Any], int, int]] = {
    "own_jsonl": (lambda root: own(root, [GOOD, OVER, OUT]), 2, 1),
    "own_jsonl pixels": (lambda root: own(root, [GOOD, OVER, OUT], box_convention="pixel_xywh"), 2, 1),
    "own_jsonl oriented": (own_oriented, 3, 1),
    "own_csv": (own_csv, 2, 1),
    "dota": (dota, 3, 1),
    "dota upright": (lambda root: dota(root, convention="minigpt"), 3, 1),
    "dota in pixels": (lambda root: dota(root, convention="pixel_corners"), 3, 1),
    "dior_rsvg": (dior, 3, 1),
    "rsvg": (
        lambda root: reader(
            "rsvg",
            rsvg(root, [("a.png", GOOD, "x"), ("a.png", [30, 10, 150, 101], "y"), ("a.png", OUT, "z")]),
            "test",
        ),
        2,
        1,
    ),
    "nwpu_vhr10": (lambda root: coco(root, [square(*GOOD), square(*OVER), square(*OUT)]), 1, 1),
    "vrsbench": (vrsbench_train, 2, 1),
    "vrsbench test": (vrsbench_test, 2, 1),
    "geochat": (
        lambda root: conversations(
            root, "geochat_instruct", ["{<10><20><60><70>|<20>}", "{<80><20><118><60>|<0>}", "{<150><20><190><60>|<0>}"]
        ),
        2,
        1,
    ),
    "skyeye": (
        lambda root: conversations(
            root, "skyeye_968k", ["{<10><20><60><70>}", "{<80><20><100><60>}", "{<80><20><130><60>}"]
        ),
        2,
        1,
    ),
    "teochat": (
        lambda root: conversations(
            root, "teochatlas", ["[10, 20, 60, 70]", "[0, 0, 100, 100]", "[80, 60, 20, 90]"], task_key=None
        ),
        2,
        1,
    ),
    "llava in pixels": (
        lambda root: conversations(
            root, "llava", ["[20, 20, 90, 80]", "[150, 50, 200, 100]", "[150, 50, 260, 140]"], boxes="pixel_xyxy"
        ),
        2,
        1,
    ),
}  # fmt: skip
"""Reader -> its release with a box over the edge and one outside, its ground samples, and how many are left out."""


@pytest.mark.parametrize(("make", "asked", "lost"), BOXED.values(), ids=BOXED.keys())
def test_a_data_set_answers_itself(tmp_path: Path, make: Callable[[Path], Any], asked: int, lost: int) -> None:
    data = make(tmp_path)
    samples = [s for s in (data[i] for i in range(len(data))) if s.task == "ground"]
    assert len(samples) == asked and sum(map(len, data.unused.values())) == lost, data.unused
    truth = [Prediction(id=s.id, task=s.task, text=s.responses[0]) for s in samples]
    found = {r.metric: (r.value, r.parse_failures) for r in score(samples, truth, protocol_prefix="", split="train")}
    assert found["ground/acc@0.5"] == (100.0, 0), found
    for sample in samples:
        size = np.array([*sample.meta["size_px"]] * 2)
        if sample.boxes_px is not None:
            assert (sample.boxes_px >= 0).all() and (sample.boxes_px <= size).all()
            assert sample.boxes_px.dtype == np.float32 and len(sample.labels) in (0, len(sample.boxes_px))
        if sample.obb_px is not None:
            assert sample.boxes_px is None or len(sample.obb_px) == len(sample.boxes_px)
    (names,) = data.unused.values()
    assert any(word in names[0] for word in (".json", ".txt", ".csv", ".xml", ".pth")), f"{names} names no file"


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 0, 200, 100], [0, 0, 200, 100]),
        ([1, 1, 201, 101], [1, 1, 200, 100]),  # counted from 1
        ([-5, -5, 10, 10], [0, 0, 10, 10]),
        ([-5, -5, 300, 300], [0, 0, 200, 100]),
        ([5.2, 5.4, 5.9, 5.8], [5.2, 5.4, 5.9, 5.8]),  # small, but whole
        ([199.5, 5, 250, 20], "outside of its picture"),  # less than a pixel is left
        ([200, 0, 210, 10], "outside of its picture"),
        ([-9, -9, -1, -1], "outside of its picture"),
        ([5, 5, 5, 9], "no area"),
        ([9, 5, 5, 9], "corners out of order"),
        ([float("nan"), 5, 8, 9], "not finite"),
        ([1, 5, float("inf"), 9], "not finite"),
        ([-float("inf"), 5, float("inf"), 9], "not finite"),
        ([100, 50, 40, 20, 30], [100, 50, 40, 20, 30]),
        ([3.5, 50, 10, 100, 0], [0, 0, 8.5, 100, -90]),  # a seventh is cut off
        ([4.8, 50, 10, 100, 0], [4.8, 50, 10, 100, 0]),  # a fiftieth stays
        ([-20, -20, 10, 10, 30], "outside of its picture"),
        ([100, 50, 40, 0, 30], "no area"),
        ([100, 50, -40, 20, 30], "corners out of order"),
        ([100, 50, 40, 20, float("nan")], "not finite"),
    ],
)
def test_one_box(box: list[float], expected: list[float] | str) -> None:
    held = hold_boxes(np.array([[10, 10, 20, 20, 0][: len(box)], box]), SIZE)
    assert held.reasons[0] == "" and held.kept[0] == 0 and held.boxes.dtype == np.float32
    if isinstance(expected, str):
        assert held.reasons[1] == expected and len(held.boxes) == 1
    else:
        assert held.reasons[1] == "" and held.kept.tolist() == [0, 1]
        if expected[-1] == -90:
            np.testing.assert_allclose(hbb_of_obb(held.boxes[1:]), [expected[:4]], atol=1e-3)
        else:
            np.testing.assert_allclose(held.boxes[1], expected, atol=1e-3)


def test_no_box_at_all_is_fine() -> None:
    for width in (4, 5):
        held = hold_boxes(np.zeros((0, width)), SIZE)
        assert held.boxes.shape == (0, width) and held.reasons == ()


def test_oriented_boxes_at_the_edge_stay_in_the_picture() -> None:
    rng = np.random.default_rng(0)
    boxes = np.stack(
        [
            rng.uniform(-20, 220, 500),
            rng.uniform(-20, 120, 500),
            *rng.uniform(2, 90, (2, 500)),
            rng.uniform(-90, 90, 500),
        ],
        1,
    )
    held = hold_boxes(boxes, SIZE)
    assert 0 < len(held.kept) < 500 and (held.boxes[:, 2:4] > 0).all()
    assert (held.boxes[:, :2] >= -1).all() and (held.boxes[:, :2] <= np.array(SIZE) + 1).all()


# --- boxes that were read in another space ---


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0.1, 0.2, 0.5, 0.8]], r"all 1 boxes lie within 0 to 1, .* parts of the sides, not pixels"),
        ([[0, 0, 1, 0.5], [0.25, 0.5, 1, 1]], "all 2 boxes lie within 0 to 1"),
        ([[300, 10, 900, 60]], r"1 of 1 boxes do not fit .*line 1, a.png, box 1: \[300"),
        ([[90, 80, 20, 20]], "corners out of order.*is it x y width height"),
        ([GOOD, OUT, OUT, OUT, OUT], "4 of 5 boxes do not fit their pictures, the first: .*line 2, a.png"),
    ],
)
def test_most_boxes_of_another_space_refuse_the_release(tmp_path: Path, boxes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        own(tmp_path, boxes)


@pytest.mark.parametrize("scale", [100, 1000])
def test_percent_read_as_pixels(tmp_path: Path, scale: int) -> None:
    save(tmp_path / "a.png", size=(3 * scale, 3 * scale))
    rows = [
        {"image": "a.png", "instruction": "?", "answer": "x", "task": "vqa", "boxes": [[k, k, scale - k, scale - k]]}
        for k in range(25)
    ]
    lines(tmp_path / "train.jsonl", rows)
    with pytest.raises(UserError, match=f"all 25 boxes lie within 0 to {scale}, on pictures of {3 * scale} pixels"):
        reader("own_jsonl", tmp_path)
    lines(tmp_path / "train.jsonl", rows[:12])
    assert len(reader("own_jsonl", tmp_path)) == 12, "few boxes may well be in a corner"


def test_a_declared_convention_is_refused_by_what_reaches_over(tmp_path: Path) -> None:
    rows = [("a.png", [20, 10, 60, 50], "x"), ("a.png", [150, 50, 180, 90], "y"), ("a.png", [120, 60, 190, 90], "z")]
    assert len(reader("rsvg", rsvg(tmp_path, rows), "test")) == 3
    with pytest.raises(UserError, match=r"2 of 3 boxes .*rsvg_test.pth, a.png, \[1\].*'pixel_xywh'. Set data.box_conv"):
        reader("rsvg", tmp_path, "test", box_convention="pixel_xywh")
    geopix(tmp_path / "geo")
    data = reader("geopix_instruct", tmp_path / "geo", parts=["SIOR"], targets="image", boxes="pixel_xyxy")
    assert data[0].boxes_px is not None and len(data[0].labels) == len(data[0].boxes_px) == 2


def test_answers_in_words_next_to_boxes(tmp_path: Path) -> None:
    save(tmp_path / "a.png", size=SIZE)
    row = {"image": "a.png", "instruction": "?", "task": "ground", "boxes": [GOOD]}
    said = ["{<10><20><45><80>}", "{<10><20><450><80>}", "{<45><20><10><80>}"]
    lines(tmp_path / "train.jsonl", [row | {"answer": text} for text in said])
    data = reader("own_jsonl", tmp_path, box_convention="minigpt")
    assert [s.responses[0] for s in data] == said[:1]
    assert data.unused == {
        "an answer that is no box of its picture": ["train.jsonl, line 2, a.png", "train.jsonl, line 3, a.png"]
    }
    many = [row | {"boxes": [GOOD, OUT, OVER], "labels": ["a", "b", "c"]}, row]
    lines(tmp_path / "train.jsonl", many)
    data = reader("own_jsonl", tmp_path, box_convention="minigpt")
    assert data[0].labels == ("a", "c") and data[0].boxes_px.tolist() == [GOOD, [150, 50, 200, 100]]
    lines(tmp_path / "train.jsonl", [row | {"task": "vqa", "answer": "x", "boxes": [OUT]}, *[row] * 2])
    assert reader("own_jsonl", tmp_path, box_convention="minigpt")[0].boxes_px is None


def test_own_webdataset(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", SIZE).save(picture, "JPEG")
    rows = [
        {"instruction": "?", "answer": "x", "task": "ground", "boxes": boxes} for boxes in ([GOOD, OUT], [OVER], [OUT])
    ]
    rows[0]["labels"] = ["a", "b"]
    shard(tmp_path / "train/0.tar", [{"jpg": picture.getvalue(), "json": json.dumps(row).encode()} for row in rows])
    data = reader("own_webdataset", tmp_path, text="json")
    assert data[0].boxes_px.tolist() == [GOOD] and data[0].labels == ("a",)
    assert data[1].boxes_px.tolist() == [[150, 50, 200, 100]]
    with pytest.raises(UserError, match=r"0:2: none of its boxes .* 200 x 100 pixels, the first: \[300"):
        data[2]


# --- COCO and its masks ---

NINE = [[20, 20, 90, 20, 90, 80, 20, 80]]
CODE = {"size": [100, 200], "counts": encode_rle(np.pad(np.ones((20, 30), bool), ((10, 70), (20, 150))))}


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        ([[20, 3, 22, 5]], "polygon without a pixel in its picture"),
        ([[1, 2]], "polygon without a pixel in its picture"),
        ([[]], "polygon without a pixel in its picture"),
        ([[5, 5, 9, 9, 13, 13]], "polygon without a pixel in its picture"),
        ([[300, 5, 350, 5, 350, 50]], "polygon without a pixel in its picture"),
        ([[-50, 5, -10, 5, -10, 50]], "polygon without a pixel in its picture"),
        ([[1, 2, 3, 4, 5]], "broken polygon"),
        ([[1, 2, 30, 4, 50, "x"]], "broken polygon"),
        ([[1, 2, 30, 4, 50, None]], "broken polygon"),
        ([NINE[0], [1, 2, 30, float("nan"), 5, 50]], "broken polygon"),
        (NINE[0], "broken polygon"),
        ("100 200", "no polygon"),
        ([], "no polygon"),
        (None, "no polygon"),
        (CODE | {"size": [200, 100]}, "run-length code of another size than its picture"),
        (CODE | {"size": [50, 100]}, "run-length code of another size than its picture"),
        (CODE | {"size": [100]}, "broken run-length code"),
        (CODE | {"counts": [100, 50]}, "broken run-length code"),
        (CODE | {"counts": CODE["counts"][:-3]}, "broken run-length code"),
        (CODE | {"counts": "\u00e9\u00e9"}, "broken run-length code"),
        (CODE | {"counts": [-5, 20005]}, "broken run-length code"),
        (CODE | {"counts": 7}, "broken run-length code"),
        (CODE | {"counts": [20000]}, "run-length code without a pixel"),
        ({"size": [100, 200]}, "broken run-length code"),
    ],
)
def test_one_broken_mask_is_left_out_and_named(tmp_path: Path, shape: Any, fault: str) -> None:
    rows = [square(*GOOD), square(*GOOD) | {"category_id": 5}, square(*GOOD) | {"category_id": 5, "segmentation": CODE}]
    data = coco(tmp_path, [*rows, square(*GOOD) | {"segmentation": shape}])
    assert data.unused == {fault: ["a.json, 7.jpg, annotation 4"]}
    assert sorted(s.id for s in data) == sorted(
        ["7:car:ground", "7:car:mask", "7:car:vqa", "7:ship:ground", "7:ship:vqa"]
    ), "boxes and counts do not need the mask"
    refused = pytest.raises(UserError, match=r"1 of 1 masks .*7\.jpg, annotation 1")
    with nullcontext() if fault == "no polygon" else refused:
        coco(tmp_path, [square(*GOOD) | {"segmentation": shape}])


@pytest.mark.parametrize(
    "polygon",
    [
        [True, True, 50, True, 50, 40],
        ["10", "10", "50", "10", "50", "40"],
        [[10, 10, 0], [50, 10, 0], [50, 40, 0], [10, 40, 0]],
        [[10, 10], [50, True], [50, 40]],
    ],
)
def test_corners_that_are_no_numbers(polygon: Any) -> None:
    with pytest.raises(UserError, match="expected a polygon as numbers"):
        PolygonMask([polygon], (100, 200))


def test_parts_without_a_pixel_cost_nothing(tmp_path: Path) -> None:
    data = coco(tmp_path, [square(*GOOD) | {"segmentation": [[1, 2, 3, 4], *NINE, [5, 5, 6, 6, 7, 7], []]}])
    assert data.unused == {}
    (mask,) = (read_array(s.mask) for s in data if s.mask is not None)
    expected = np.zeros((100, 200), bool)
    expected[20:80, 20:90] = True
    assert (mask == expected).all()
    for code in (CODE, CODE | {"counts": [2010, *[20, 80] * 29, 20, 15070]}, [CODE]):
        (mask,) = (read_array(s.mask) for s in coco(tmp_path, [square(*GOOD) | {"segmentation": code}]) if s.mask)
        assert mask.sum() == 600


NAN = float("nan")


def test_boxes_of_coco_that_nobody_can_place(tmp_path: Path) -> None:
    """A ship is there, but where? Then it can neither be located nor is the count of the others right."""
    for box in ([NAN, 1, 5, 5], [10, 10, -5, 5], [10, float("inf"), 5, 5], [1, 1, 10**90, 5]):
        rows = [square(*GOOD), square(*GOOD) | {"bbox": box}, *[square(*GOOD) | {"category_id": 5}] * 2]
        data = coco(tmp_path, rows)
        assert sorted(s.id for s in data) == ["7:car:ground", "7:car:mask", "7:car:vqa", "7:ship:mask"]
        assert list(data.unused.values()) == [["a.json, 7.jpg, annotation 2"]]


def test_values_of_coco_that_tools_write(tmp_path: Path) -> None:
    """Boxes and ids that are none cost their annotation; numbers as texts and what is left out are read."""
    cars = [square(*GOOD) | {"category_id": 5}] * 2
    asked = ["7:car:ground", "7:car:mask", "7:car:vqa", "7:ship:mask"]
    for box in (None, [], "1 1 5 5", [1, 1, 5], ["1", "1", "5", "5"], [True, 1, 5, 5], [[1, 1, 5, 5]], {}):
        data = coco(tmp_path, [square(*GOOD), square(*GOOD) | {"bbox": box}, *cars])
        assert sorted(s.id for s in data) == asked, box
        assert list(data.unused.values()) == [["a.json, 7.jpg, annotation 2"]]
    with pytest.raises(UserError, match=r"2 of 2 boxes .*annotation 1: None is no box .*x y width height"):
        coco(tmp_path, [square(*GOOD) | {"bbox": None}] * 2)
    for key, value in (("image_id", None), ("image_id", NAN), ("category_id", [2]), ("image_id", True)):
        data = coco(tmp_path, [square(*GOOD), square(*GOOD) | {key: value}, *cars])
        assert data.unused == {"image or category that is not in the file": ["a.json, annotations[1]"]}
    with pytest.raises(UserError, match=r"annotations\[0\]: 'image_id': .*null; so it is with 2 of 2 annotations"):
        coco(tmp_path, [square(*GOOD) | {"image_id": None}] * 2)
    image = {"id": 7, "file_name": "7.jpg"}
    for size in (
        {},
        {"width": None, "height": NAN},
        {"width": "200", "height": "100"},
        {"width": 200.0, "height": 100.0},
    ):
        assert len(coco(tmp_path, cars, images=[image | size])) == 3, size
    for size in ({"width": 200.5, "height": 100}, {"width": 200}, {"width": "wide", "height": 100}):
        with pytest.raises(UserError, match="a.json, image 7: .*expected"):
            coco(tmp_path, cars, images=[image | size])
    for crowd, samples in (("0", 3), (NAN, 3), (None, 3), ("1", 1), (True, 1)):
        assert len(coco(tmp_path, [row | {"iscrowd": crowd} for row in cars])) == samples, crowd


def test_lines_of_dota_that_are_no_place(tmp_path: Path) -> None:
    good = "10 10 60 10 60 40 10 40 ship 0\n"
    save(tmp_path / "train/images/P1.png", size=SIZE)
    labels = tmp_path / "train/labelTxt/P1.txt"
    labels.parent.mkdir(parents=True)
    labels.write_text("imagesource: GoogleEarth\ngsd:-0.5\n" + 4 * good + good.replace("60", "nan"))
    data = DOTA(root=str(tmp_path), split="train")
    assert data.unused == {"not finite": ["P1.txt, P1.png, line 7"]} and data.counts["boxes"] == 4
    assert data[0].meta["sensor"] == "GoogleEarth" and "gsd_m" not in data[0].meta
    labels.write_text(good.replace("60", "6_0"))
    with pytest.raises(UserError, match="line 1: expected x1 y1 x2"):
        DOTA(root=str(tmp_path), split="train")


def test_ids_of_coco(tmp_path: Path) -> None:
    rows = [square(*GOOD), square(*OVER)]
    twice = coco(tmp_path, [rows[0], rows[1] | {"id": 9}, rows[1] | {"id": 9}])
    assert twice.counts["boxes"] == 2 and twice.unused == {"there twice": ["a.json, 7.jpg, annotation 9"]}
    astray = coco(tmp_path, [*rows, rows[0] | {"image_id": 8}, rows[0] | {"category_id": 8}])
    assert astray.counts["boxes"] == 2 and len(astray.unused["image or category that is not in the file"]) == 2
    with pytest.raises(UserError, match=r"annotations\[0\]: there is no image 8"):
        coco(tmp_path, [row | {"image_id": 8} for row in rows])
    names = [{"id": 2, "name": "ship"}, {"id": 5, "name": "ship"}]
    merged = coco(tmp_path, [rows[0], rows[1] | {"category_id": 5}], categories=names)
    assert [s.id for s in merged] == ["7:ship:ground", "7:ship:mask", "7:ship:vqa"] and len(merged[0].labels) == 2
    image = {"id": 7, "file_name": "7.jpg", "width": 200, "height": 100}
    same = coco(tmp_path, [rows[0], rows[1] | {"image_id": 8}], images=[image, image | {"id": 8}])
    assert [s.id for s in same] == ["7:ship:ground", "7:ship:mask", "7:ship:vqa"] and len(same[0].labels) == 2
    texts = coco(tmp_path, [row | {"image_id": "7"} for row in rows], images=[image | {"id": "7"}, image | {"id": 7}])
    assert len(texts) == 3, "7 and '7' are one id"
    with pytest.raises(UserError, match=r"images\[1\]: the id 7 is there twice, for .*7\.jpg.* and .*8\.jpg"):
        coco(tmp_path, rows, images=[image, image | {"file_name": "8.jpg"}])
    for wrong in (True, None, 1.5, [7]):
        with pytest.raises(UserError, match="'image_id': expected "):
            coco(tmp_path, [rows[0] | {"image_id": wrong}])


def test_pictures_of_one_name_in_two_folders(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{part}/1.png", "width": 200, "height": 100} for i, part in enumerate("ab")]
    for part in "ab":
        save(tmp_path / f"imgs/{part}/1.png", size=SIZE)
    data = coco(tmp_path, [square(*GOOD) | {"image_id": i} for i in (0, 1)], images=images)
    assert len({s.id for s in data}) == len(data) == 6 and len({s.images[0] for s in data}) == 2


# --- sizes ---


def turned(path: Path, size: tuple[int, int]) -> Path:
    """A picture that lies as ``size`` in its file, and is shown on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, exif=exif)
    return path


def _coco_of(root: Path, pictures: int) -> Any:
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 200, "height": 100} for i in range(pictures)]
    return coco(root, [square(*GOOD) | {"image_id": i} for i in range(pictures)], images=images)


def _dior_of(root: Path, pictures: int) -> Any:
    for i in range(pictures):
        text = xml(i, ("ship", (10, 10, 90, 80), "it"))
        text = text.replace("<width>800", "<width>200").replace("<height>600", "<height>100")
        write(root / f"Annotations/{i:05}.xml", text.replace(f"{i:05}.jpg", f"{i}.jpg"))
    write(root / "train.txt", "\n".join(map(str, range(pictures))))
    return reader("dior_rsvg", root, images="imgs")


def _rrsis_of(root: Path, pictures: int) -> Any:
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 100, "width": 200} for i in range(pictures)],
        "categories": [{"id": 7, "name": "ship"}],
        "annotations": [{"id": i, "image_id": i, "category_id": 7, "segmentation": NINE} for i in range(pictures)],
    }
    refs = [
        {"ref_id": i, "ann_id": i, "image_id": i, "split": "train", "sentences": [{"raw": "it"}]}
        for i in range(pictures)
    ]
    write(root / "rrsisd/instances.json", content)
    (root / "rrsisd/refs(unc).p").write_bytes(pickle.dumps(refs))
    return reader("rrsis_d", root, images="imgs")


STATED = {"coco": _coco_of, "dior_rsvg": _dior_of, "rrsis_d": _rrsis_of}


@pytest.mark.parametrize("make", STATED.values(), ids=STATED.keys())
@pytest.mark.parametrize("scaled", [True, False])
def test_stated_and_seen_size(tmp_path: Path, make: Callable[[Path, int], Any], scaled: bool) -> None:
    for i in range(3):
        save(tmp_path / f"imgs/{i}.jpg", size=SIZE)
    odd = [tmp_path / f"imgs/{i}.jpg" for i in range(3)]
    spoil = (lambda path: save(path, size=(400, 200))) if scaled else (lambda path: turned(path, SIZE))
    spoil(odd[1])
    data = make(tmp_path, 3)
    assert {s.images[0].name for s in data} == {"0.jpg", "2.jpg"}
    reason = "size not as stated" if scaled else "turned by an orientation tag"
    (said,) = data.unused[reason]
    assert "1.jpg, stated as 200 x 100, is " + ("400 x 200" if scaled else "100 x 200") in said
    spoil(odd[0])
    with pytest.raises(
        UserError, match="2 of 3 pictures .*0.jpg.*" + ("scaled" if scaled else "exiftool -Orientation=")
    ):
        make(tmp_path, 3)


def _refsegrs(root: Path) -> tuple[Any, Path]:
    refsegrs(root)
    return (lambda: reader("refsegrs", root)), root / "masks/0.tif"


def _sky(root: Path) -> tuple[Any, Path]:
    sky(root)
    return (lambda: reader("sky_sa", root)), root / "ann_dir/b.png"


def _semantic(root: Path) -> tuple[Any, Path]:
    node = release(root, "loveda")
    _, image, target = LAYOUTS["loveda"]
    for path in (image, target):
        shutil.copy(root / path, (root / path).with_name("9.png"))
    return (lambda: instantiate(node)), (root / target).with_name("9.png")


def _change(root: Path) -> tuple[Any, Path]:
    folders(root, "train/A", "train/B", "train/label", "a1 b2")
    return (lambda: reader("levir_cd", root)), root / "train/label/a1.png"


def _change_date(root: Path) -> tuple[Any, Path]:
    folders(root, "train/A", "train/B", "train/label", "a1 b2")
    return (lambda: reader("levir_cd", root)), root / "train/B/a1.png"


def _captioned(root: Path) -> tuple[Any, Path]:
    levir_mci(root)
    return (lambda: reader("levir_mci", root)), next(root.rglob("train/B/*.png"))


def _own_mask(root: Path) -> tuple[Any, Path]:
    row = {"instruction": "?", "task": "mask"}
    for name in "ab":
        save(root / f"{name}.png")
        save(root / f"{name}_mask.png", 255, "L")
    lines(root / "train.jsonl", [row | {"image": f"{name}.png", "mask": f"{name}_mask.png"} for name in "ab"])
    return (lambda: reader("own_jsonl", root)), root / "a_mask.png"


@pytest.mark.parametrize("make", [_refsegrs, _sky, _semantic, _change, _change_date, _captioned, _own_mask])
def test_masks_maps_and_dates_of_another_size(tmp_path: Path, make: Callable[[Path], tuple[Any, Path]]) -> None:
    read, target = make(tmp_path)
    before = len(read())
    with Image.open(target) as image:
        image.resize((image.width * 2, image.height)).save(target)
    data = read()
    assert 0 < len(data) < before
    (said,) = data.unused["of different sizes"]
    assert target.name in said and " x " in said
    for sample in (data[i] for i in range(len(data))):
        for part in (sample.mask, sample.class_map):
            assert part is None or read_array(part).shape == load_image(sample.images[0]).shape[:2]


def test_all_masks_of_another_size_refuse_the_release(tmp_path: Path) -> None:
    refsegrs(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        save(path, 255, "L", size=(24, 16))
    with pytest.raises(UserError, match="2 of 2 pictures .*12 x 8.*24 x 16 pixels. They are not of one release"):
        reader("refsegrs", tmp_path)


def test_masks_of_rrsis_d_and_geopix(tmp_path: Path) -> None:
    """What constructors of masks raised without a place is named and counted."""
    path = rrsis(tmp_path / "r") / "rrsisd/instances.json"
    whole = json.loads(path.read_text())
    for shape, fault in (
        ([], "no polygon"),
        ([[1, 2]], "polygon without a pixel in its picture"),
        ([{"counts": 3, "size": [H, W]}], "broken run-length code"),
        ([{"counts": encode_rle(ROOF), "size": [W, H]}], "run-length code of another size than its picture"),
    ):
        content = json.loads(json.dumps(whole))
        content["annotations"][1]["segmentation"] = shape
        write(path, content)
        data = reader("rrsis_d", tmp_path / "r")
        assert data.unused[fault] == ["instances.json, annotation 11, 00001.jpg"] and len(data) == 3
    file = geopix(tmp_path / "g") / "train.SIOR_T.jsonl"
    (row,) = (json.loads(line) for line in file.read_text().splitlines())
    for change in ({"size": [8]}, {"size": [W, H]}, {"counts": "0"}, {"counts": encode_rle(np.zeros((H, W), bool))}):
        spoiled = json.loads(json.dumps(row))
        spoiled["instances"][1]["mask"] |= change
        lines(file, [spoiled])
        data = reader("geopix_instruct", tmp_path / "g", parts=["SIOR"])
        assert [s.kind for s in data] == ["stadium"]
        assert sum("instances[1], 00012.jpg" in names[0] for names in data.unused.values()) == 1


# --- what is said ---


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    data = own(tmp_path, [GOOD, OVER, OUT])
    assert left_out(data) == "1 outside of its picture (train.jsonl, line 3, a.png, box 1)"
    data.unused["odd name"] = ["\x1b[31mred\n"]
    assert "\x1b" not in left_out(data) and "\n" not in left_out(data) and left_out(object()) == ""
    console = Console(width=160, markup=False, emoji=False, file=io.StringIO())
    inspect(own(tmp_path, [GOOD, OVER, OUT]), rows=1, sheet=0, out=tmp_path / "s.png", console=console)
    assert "outside of its picture" in console.file.getvalue()  # type: ignore[attr-defined]
    console = Console(width=200, file=io.StringIO())
    node = {
        "_target_": "rsmoe.data.readers.own_table.OwnTable",
        "name": "own",
        "root": None,
        "box_convention": "minigpt",
    }
    build_corpus(
        {"own": {"reader": node, "splits": {"train": "train"}}}, root=str(tmp_path), generated=False, console=console
    )
    assert "own, split train, left out: 1 outside of its picture" in console.file.getvalue()  # type: ignore[attr-defined]

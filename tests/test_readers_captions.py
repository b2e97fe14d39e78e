"""Readers of captions, scenes and videos: tiny releases written as the formats say, and every kind of broken one."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from rsmoe.config import conf_dir, instantiate
from rsmoe.data.boxes import parse
from rsmoe.data.images import images_key, load_image
from rsmoe.data.rs5m import RS5M
from rsmoe.data.scene_folder import SceneFolder, class_words
from rsmoe.data.splits import held_out
from rsmoe.data.tar_image import TarImage
from rsmoe.data.tar_index import index_tar
from rsmoe.data.video_folder import VideoFolder
from rsmoe.errors import UserError

MINE = (
    "nwpu_captions rsitmd vrsbench_captions gaia skyscript rs5m eurosat uc_merced aid resisc45 capera "
    "ucm_captions sydney_captions rsicd rsicap rsieval rsivqa_ucm rsivqa_rsicd"
).split()


def save(path: Path, value: int = 90, size: tuple[int, int] = (12, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path)
    return path


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def config(name: str) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / "data" / f"{name}.yaml").read_text())


def reader(name: str, root: Path, split: str = "train", **more: Any) -> Any:
    """The data set of a yaml, on a release in ``root``."""
    return instantiate({**config(name), "root": str(root), **more}, split=split)


def same(data: Any) -> None:
    """What every reader promises."""
    samples = list(data)
    assert len(samples) == len(data) == len({s.id for s in samples}) > 0
    assert all(s.source == data.name and s.responses and all(s.responses) for s in samples)
    again = [data[i] for i in range(len(data))]
    assert [(s.id, s.responses, images_key(s)) for s in samples] == [(s.id, s.responses, images_key(s)) for s in again]
    assert all(type(n) is int for n in data.counts.values()) and data.protocol == ""
    assert all(isinstance(r, str) and ids for r, ids in data.unused.items())
    pickle.loads(pickle.dumps(data))[0]  # loader workers get a copy


@pytest.mark.parametrize("name", MINE)
def test_official_counts_are_counts_of_splits(name: str) -> None:
    official = config(name)["official"]
    assert set(official) <= {"train", "val", "test", "all"}
    assert all(type(n) is int and n > 0 for counts in official.values() for n in counts.values())


@pytest.mark.parametrize(
    ("name", "key", "total"),
    [
        ("nwpu_captions", "captions", 157_500),
        ("nwpu_captions", "images", 31_500),
        ("rsitmd", "images", 4_743),
        ("rsicd", "captions", 54_605),
        ("sydney_captions", "captions", 3_065),
        ("ucm_captions", "captions", 10_500),
        ("vrsbench_captions", "expressions", 52_472),
        ("vrsbench_captions", "questions", 123_221),
        ("vrsbench_captions", "images", 29_614),
        ("capera", "videos", 2_864),
    ],
)
def test_official_counts_add_up(name: str, key: str, total: int) -> None:
    assert sum(counts[key] for counts in config(name)["official"].values()) == total


@pytest.mark.parametrize("name", ["eurosat", "uc_merced", "aid", "resisc45"])
def test_the_classes_of_a_yaml_are_as_many_as_it_says(name: str) -> None:
    classes = config(name)["classes"]
    assert classes == sorted(set(classes)) and len(classes) == config(name)["official"]["all"]["classes"]


# --- splits ---


def test_held_out_is_stable_nested_and_keeps_groups() -> None:
    names = [f"P{i // 4:02d}_{i}.png" for i in range(100)]
    small, large = held_out(names, 0.1), held_out(names, 0.3)
    assert len(small) == 10 and len(large) == 30 and small < large
    assert held_out(names[::-1] + names, 0.1) == small
    whole = held_out(names, 0.1, group=lambda n: n[:3])
    assert len(whole) == 12 and all(n in whole for n in names if n[:3] in {w[:3] for w in whole})
    assert held_out(names, 0.0) == set() and len(held_out(names, 1e-6)) == 1
    assert len(held_out([f"{i}" for i in range(30)], 0.1)) == 3  # 0.1 * 30 > 3 in binary


# --- NWPU-Captions ---


def nwpu(root: Path) -> Path:
    def row(file: str, split: str, **more: str) -> dict[str, Any]:
        texts = {key: f"{key} of {file}" for key in ("raw", "raw_1", "raw_2", "raw_3", "raw_4")}
        return {"filename": file, "imgid": 0, "split": split, "sentids": [0], **texts, **more}

    content = {
        "airplane": [row("airplane_001.jpg", "train"), row("airplane_111.jpg", "train")],
        "sea_ice": [
            row("sea_ice_001.jpg", "train", raw_3=" ", raw="North ice ."),
            row("sea_ice_002.jpg", "val"),
        ],
    }
    write(root / "dataset_nwpu.json", content)
    for file in ("airplane/airplane_001", "sea_ice/sea_ice_001", "sea_ice/sea_ice_002"):
        save(root / f"NWPU_images/{file}.jpg")
    return root


def test_nwpu_captions(tmp_path: Path) -> None:
    data = reader("nwpu_captions", nwpu(tmp_path))
    same(data)
    assert data.counts == {"images": 2, "captions": 9}
    assert data.unused == {"image not in the release": ["airplane_111.jpg"], "empty caption": ["sea_ice_001.jpg"]}
    assert data[1].images == (tmp_path / "NWPU_images/sea_ice/sea_ice_001.jpg",)
    assert data[1].responses[0] == "North ice ." and len(data[1].responses) == 4
    assert [s.directional for s in data] == [False, True]
    assert [s.meta for s in data] == [{"scene_class": "airplane"}, {"scene_class": "sea ice"}]
    save(tmp_path / "NWPU_images/airplane/airplane_111.jpg")  # a mended copy is used
    assert reader("nwpu_captions", tmp_path).counts["images"] == 3


def test_nwpu_captions_refuses(tmp_path: Path) -> None:
    nwpu(tmp_path)
    with pytest.raises(UserError, match="unknown split of nwpu_captions 'test'.*Known: train, val"):
        reader("nwpu_captions", tmp_path, "test")
    with pytest.raises(UserError, match=r"1 of 2 annotated names have no image .*airplane_111\.jpg"):
        reader("nwpu_captions", tmp_path, absent=[])
    (tmp_path / "NWPU_images/sea_ice/sea_ice_002.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="empty files"):
        reader("nwpu_captions", tmp_path, "val")
    for content, message in (
        ([], "should be an object of scene classes"),
        ({"airplane": [{"filename": "a.jpg"}]}, r"'airplane'\[0\]: no key 'split'"),
        ({"airplane": [{"filename": "airplane_001.jpg", "split": "train", "raw": "x"}]}, "no key 'raw_1'"),
        ({"../x": [{"filename": "../../a.jpg", "split": "train"}]}, "does not lie in"),
        ({}, "is empty"),
    ):
        write(tmp_path / "dataset_nwpu.json", content)
        with pytest.raises(UserError, match=message):
            reader("nwpu_captions", tmp_path)


# --- RSITMD: Karpathy's json, no validation part ---


def test_rsitmd_holds_val_out_of_train(tmp_path: Path) -> None:
    rows = [
        {
            "filename": f"airport_{i}.tif",
            "split": "test" if i > 39 else "train",
            "sentences": [{"raw": f"An airport {i}."}],
        }
        for i in range(44)
    ]
    write(tmp_path / "dataset_RSITMD.json", {"images": rows, "dataset": "RSITMD"})
    for i in range(44):
        save(tmp_path / f"images/airport_{i}.tif")
    parts = {split: reader("rsitmd", tmp_path, split) for split in ("train", "val", "test")}
    for data in parts.values():
        same(data)
    assert {split: len(data) for split, data in parts.items()} == {"train": 38, "val": 2, "test": 4}
    assert len({s.id for data in parts.values() for s in data}) == 44
    assert len(reader("rsitmd", tmp_path, val_fraction=0.0)) == 40
    with pytest.raises(UserError, match="Known: test, train"):
        reader("rsitmd", tmp_path, "val", val_fraction=0.0)
    with pytest.raises(UserError, match="val_fraction=1.5"):
        reader("rsitmd", tmp_path, val_fraction=1.5)
    rows[0]["split"] = "val"  # a copy with a val part keeps it
    write(tmp_path / "dataset_RSITMD.json", {"images": rows})
    assert [s.id for s in reader("rsitmd", tmp_path, "val")] == ["airport_0.tif"]


# --- VRSBench ---

CORNER = [0.25, 0.5, 0.5, 0.25, 0.75, 0.5, 0.5, 0.75]
"""A square stood on its corner in the middle of the picture."""


def thing(**more: Any) -> dict[str, Any]:
    return {
        "obj_id": 0,
        "obj_cls": "ship",
        "is_unique": True,
        "obj_coord": [0.25, 0.25, 0.75, 0.75],
        "obj_corner": CORNER,
        "referring_sentence": "The large ship in the middle.",
    } | more


def vrsbench(root: Path, things: list[dict[str, Any]] | None = None) -> Path:
    pairs = [
        {"ques_id": 1, "question": "How many ships?", "type": "object quantity", "answer": 2},
        {"ques_id": 2, "question": "Where is it?", "type": "Object Position", "answer": "in the middle"},
        {"ques_id": 3, "question": "Why?", "type": "reasoning", "answer": ""},
    ]
    for i in range(40):
        stem = f"P{i // 2:04d}_{i:04d}"
        content = {"image": "other.png", "caption": "A harbor.", "objects": [], "qa_pairs": []}
        if i == 0:
            content |= {"objects": things or [thing()], "qa_pairs": pairs}
        write(root / f"Annotations_train/{stem}.json", content)
        save(root / f"Images_train/{stem}.png", size=(200, 100))
    shared = {"image_id": "00002_0000.png", "dataset": "DIOR"}
    referred = {"obj_corner": CORNER, "obj_cls": "ship", "unique": False, "size_group": "big", "obj_ids": [3]}
    captions = [shared | {"ground_truth": "Ships at the left.", "question": "Describe.", "question_id": 7}]
    boxes = [
        shared | referred | {"question": "The ship", "ground_truth": "{<25><40><33><60>}", "question_id": 8},
        shared | referred | {"question": "A line", "ground_truth": "{<92><0><96><0>}", "question_id": 9},
    ]
    questions = [shared | {"question": "Is it red?", "ground_truth": "Yes", "type": "object color", "question_id": 10}]
    for file, rows in (("Cap", captions), ("referring", boxes), ("vqa", questions)):
        write(root / f"VRSBench_EVAL_{file}.json", rows)
    save(root / "Images_val/00002_0000.png", size=(512, 512))
    return root


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
        "box without an area": ["P0000_0000:object:2"],
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
        with pytest.raises(UserError, match="ground:0: expected one box"):
            reader("vrsbench_captions", root, "test", tasks=["ground"])[0]
    write(root / "VRSBench_EVAL_Cap.json", {"rows": []})
    with pytest.raises(UserError, match="should be a list of rows"):
        reader("vrsbench_captions", root, "test")
    (root / "Images_train/P0003_0007.png").unlink()
    with pytest.raises(UserError, match=r"1 of 40 .*P0003_0007\.png"):
        reader("vrsbench_captions", root, val_fraction=0.0)
    with pytest.raises(UserError, match=r"no folder .*Unpack Annotations_train\.zip"):
        reader("vrsbench_captions", root, annotations="absent")


# --- GAIA ---


def gaia(root: Path) -> Path:
    row = {
        "image_src": "https://example.org/1.png",
        "image_alt": "smoke",
        "captions": [f"The image showcases: fire {i}." for i in range(5)],
        "credits": "NASA",
        "location": "Chile",
        "lat": -33.4,
        "lon": 0,
        "tag": ["fires", "smoke", "land"],
        "resolution": "Moderate",
        "satellite": ["Terra"],
        "sensor": ["MODIS"],
        "modalities": [],
    }
    rows = [row | {"id": 7}, row | {"id": "a.b", "location": None, "captions": ["The north.", " "]}, row | {"id": "9"}]
    for split, part in (("train", rows), ("val", rows[:1]), ("test", rows[:1])):
        write(root / f"{split}_data.json", part)
    for stem in ("7.png", "a.b.jpg", "9.webp"):
        save(root / f"images/{stem}")
    return root


def test_gaia_keeps_sensor_place_and_resolution(tmp_path: Path) -> None:
    data = reader("gaia", gaia(tmp_path))
    same(data)
    assert [(s.id, s.images[0].name) for s in data] == [("7", "7.png"), ("a.b", "a.b.jpg"), ("9", "9.webp")]
    assert data.counts == {"images": 3, "captions": 11} and data.unused == {"empty caption": ["a.b"]}
    meta = data[0].meta
    assert meta["sensors"] == ["MODIS"] and meta["place"] == "Chile" and meta["resolution"] == "Moderate"
    assert meta["lon"] == 0 and "modalities" not in meta and "place" not in data[1].meta
    assert data[1].directional and not data[0].directional and len(data[0].responses) == 5


def test_gaia_leaves_out_dead_addresses_only_when_told(tmp_path: Path) -> None:
    gaia(tmp_path)
    (tmp_path / "images/a.b.jpg").unlink()
    with pytest.raises(UserError, match=r"1 of 3 .*a\.b\.png"):
        reader("gaia", tmp_path)
    data = reader("gaia", tmp_path, incomplete=True)
    assert data.unused == {"image not downloaded": ["a.b"]} and [s.id for s in data] == ["7", "9"]
    (tmp_path / "images/9.webp").unlink()
    (tmp_path / "images/7.png").unlink()
    with pytest.raises(UserError, match="none of the images"):
        reader("gaia", tmp_path, incomplete=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"id": {}}, "should be a list of rows"),
        ([{"captions": []}], "no key 'id'"),
        ([{"id": "../../etc/passwd", "captions": ["x"]}], "is no plain file name"),
        ([{"id": "..", "captions": ["x"]}], "have no image"),
        ([{"id": None, "captions": ["x"]}], "is no plain file name"),
        ([{"id": 7, "captions": ["x"]}, {"id": "7", "captions": ["x"]}], "or is there twice"),
        ([{"id": 7, "captions": []}], "id 7: no caption"),
        ([{"id": 7, "captions": "x"}], "'captions' should be list"),
    ],
)
def test_gaia_refuses(tmp_path: Path, content: Any, message: str) -> None:
    write(gaia(tmp_path) / "train_data.json", content)
    with pytest.raises(UserError, match=message):
        reader("gaia", tmp_path)


# --- SkyScript ---

TABLE = """filepath,title,title_multi_objects
images2/a198234555_CH_19.jpg,a school,"a school, surrounded by road"
images2/n5_US_21.jpg,a tower,a tower
images3/w7_XX_07.jpg,,
images3/other.jpg,a farm,a farm north of a river
"""


def skyscript(root: Path, table: str = TABLE) -> Path:
    for split in ("train_top30pct", "val_5K", "test_30K"):
        write(root / f"SkyScript_{split}_filtered_by_CLIP_openai.csv", table)
    for file in ("images2/a198234555_CH_19", "images2/n5_US_21", "images3/other"):
        save(root / f"{file}.jpg")
    return root


def test_skyscript_reads_tables_and_names(tmp_path: Path) -> None:
    data = reader("skyscript", skyscript(tmp_path))
    same(data)
    assert data.counts == {"images": 3, "captions": 3, "other_parts": 0}
    assert data.unused == {"no title": ["images3/w7_XX_07.jpg"]}
    assert data[0].responses == ("a school, surrounded by road",)
    assert data[0].meta == {"osm": "area/198234555", "source": "CH", "year": 2019, "sensor": "SWISSIMAGE"}
    assert data[1].meta["osm"] == "node/5" and data[2].meta == {} and data[2].directional
    both = reader("skyscript", tmp_path, columns=["title", "title_multi_objects"])
    assert [len(s.responses) for s in both] == [2, 1, 2] and both.counts["captions"] == 5
    part = reader("skyscript", tmp_path, "val", parts=["images2"])
    assert part.counts == {"images": 2, "captions": 2, "other_parts": 2}


def test_skyscript_metadata_is_json_and_never_pickle(tmp_path: Path) -> None:
    skyscript(tmp_path)
    rows = [
        {"filepath": "images2/n5_US_21.jpg", "box": [7.1, 46.2, 7.2, 46.3], "time": [2021, 5, 1, 10, 30]},
        {"filepath": "images9/absent.jpg", "box": [0, 0, 1, 1]},
    ]
    write(tmp_path / "meta.jsonl", "\n".join(map(json.dumps, rows)))
    data = reader("skyscript", tmp_path, metadata="meta.jsonl")
    assert data[1].meta["box"] == [7.1, 46.2, 7.2, 46.3] and data[1].meta["sensor"] == "NAIP"
    assert "box" not in data[0].meta
    write(tmp_path / "meta.jsonl", '{"box": []}')
    with pytest.raises(UserError, match=r"meta\.jsonl, line 1: no key 'filepath'"):
        reader("skyscript", tmp_path, metadata="meta.jsonl")
    (tmp_path / "meta.pickle").write_bytes(pickle.dumps({"filepath": "x"}))
    with pytest.raises(UserError, match="UTF-8|json"):
        reader("skyscript", tmp_path, metadata="meta.pickle")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("filepath,title\nimages2/n5_US_21.jpg,x\n", "no column title_multi_objects; found filepath, title"),
        ("", "no column"),
        ("filepath,title_multi_objects\n", "holds no row"),
        ("filepath,title_multi_objects\nimages2/n5_US_21.jpg\n", "line 2: fewer values"),
        ("filepath,title_multi_objects\nimages2/n6.jpg,x\n", r"1 of 1 images are not in .*images2/n6\.jpg"),
        ("filepath,title_multi_objects\n../secret.jpg,x\n", "does not lie in"),
        ("filepath,title_multi_objects\nimages2/../../secret.jpg,x\n", "does not lie in"),
        ("filepath,title_multi_objects\n/etc/passwd,x\n", "does not lie in"),
        ("filepath,title_multi_objects\nimages2/..,x\n", "1 of 1 images are not in"),
    ],
)
def test_skyscript_refuses(tmp_path: Path, table: str, message: str) -> None:
    save(tmp_path / "secret.jpg")
    skyscript(tmp_path / "root", table)
    with pytest.raises(UserError, match=message):
        reader("skyscript", tmp_path / "root")


# --- RS5M ---


def jpeg(value: int = 50, size: tuple[int, int] = (10, 6), kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (value,) * 3).save(out, kind)
    return out.getvalue()


def pair(value: int, **more: bytes) -> dict[str, bytes]:
    return {
        "caption": f"Picture {value}.".encode(),
        "img_content": jpeg(value),
        "img_name": f"{value}.jpg".encode(),
    } | more


def shard(path: Path, samples: list[dict[str, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    """As webdataset writes: PAX headers with a fractional time, fields of a sample one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for i, sample in enumerate(samples):
            for name, content in sample.items():
                info = tarfile.TarInfo(f"{path.stem}_{i:06d}.{name}")
                info.size, info.mtime = len(content), 1700000000.25
                tar.addfile(info, io.BytesIO(content))
    return path


def rs5m(root: Path) -> Path:
    shard(root / "train/pub11-train-0000.tar", [pair(10), pair(20)])
    shard(root / "train/pub11-train-0001.tar", [pair(30, caption="Ünten links, left".encode()), pair(40, caption=b"")])
    shard(root / "train/rs3-train-0000.tar", [pair(50)], tarfile.GNU_FORMAT)
    for subset in ("pub11", "rs3"):
        shard(root / f"val/{subset}-val-0000.tar", [pair(60)])
    return root


def test_rs5m_reads_pairs_where_they_lie(tmp_path: Path) -> None:
    data = reader("rs5m", rs5m(tmp_path))
    same(data)
    assert data.counts == {"shards": 3, "images": 4, "captions": 4}
    assert data.unused == {"empty caption": ["pub11-train-0001:1"]}
    assert [s.id for s in data] == [
        "pub11-train-0000:0",
        "pub11-train-0000:1",
        "pub11-train-0001:0",
        "rs3-train-0000:0",
    ]
    assert data[2].responses == ("Ünten links, left",) and data[2].directional
    assert [s.meta for s in data][1::2] == [
        {"file": "20.jpg", "subset": "pub11"},
        {"file": "50.jpg", "subset": "rs3"},
    ]
    for sample, value in zip(data, (10, 20, 30, 50), strict=True):
        picture = load_image(sample.images[0])
        assert picture.shape == (6, 10, 3) and abs(int(picture[0, 0, 0]) - value) <= 1
    assert len({images_key(s) for s in data}) == 4
    half = reader("rs5m", tmp_path, shards={"train": ["train/rs3-train-*.tar"]})
    assert [s.id for s in half] == ["rs3-train-0000:0"]
    assert len(reader("rs5m", tmp_path, "val")) == 2


def test_rs5m_keeps_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rs5m(tmp_path)
    first = reader("rs5m", tmp_path, index="index")
    assert len(list((tmp_path / "index").iterdir())) == 3

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the headers were read again")

    monkeypatch.setattr(tarfile, "open", never)
    second = reader("rs5m", tmp_path, index="index")
    assert [s.responses for s in second] == [s.responses for s in first]
    monkeypatch.undo()
    shard(tmp_path / "train/rs3-train-0000.tar", [pair(70), pair(80)])  # another file of this name
    assert [s.meta["file"] for s in reader("rs5m", tmp_path, index="index")][-2:] == ["70.jpg", "80.jpg"]


def test_rs5m_refuses_broken_shards(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", [pair(10), pair(20), pair(30)])
    fields = ("img_name", "caption", "img_content")
    whole, index = path.read_bytes(), index_tar(path, fields)
    assert index.shape == (3, 3, 2)
    starts = sorted(int(x) for x in index[..., 0].ravel())
    # cut within a picture, within a header, between two members, and just before the end of the archive
    for length in (starts[4] + 3, starts[4] - 200, starts[3] - 1024, 512 * (starts[-1] // 512 + 1)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.tar.*Download the shard again"):
            index_tar(path, fields)
    path.write_bytes(
        whole[: starts[4] - 1024] + b"\xff" * 1024 + whole[starts[4] :]
    )  # a header in the middle is damaged
    with pytest.raises(UserError, match=r"a\.tar.*(damaged|cut off)"):
        index_tar(path, fields)
    path.write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(UserError, match="is not a tar file"):
        index_tar(path, fields)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="is not a tar file"):
        index_tar(path, fields)
    shard(path, [pair(10), {"jpg": jpeg(), "txt": b"x", "caption": b"x"}])
    with pytest.raises(UserError, match="sample '/a_000001' has no img_name, img_content. Expected img_name, caption"):
        index_tar(path, fields)
    twice = shard(tmp_path / "b.tar", [pair(10)])
    with tarfile.open(twice, "a") as tar:
        info = tarfile.TarInfo("b_000000.caption")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(UserError, match="has caption twice"):
        index_tar(twice, fields)


def test_rs5m_never_follows_names_or_links(tmp_path: Path) -> None:
    """Nothing is unpacked: a name that climbs out is only a name, and a link is no field."""
    save(tmp_path / "secret.jpg")
    path = tmp_path / "train/x.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for field, content in pair(10, img_name=b"../../secret.jpg").items():
            info = tarfile.TarInfo(f"../../evil/0.{field}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("1.img_content")
        link.type, link.linkname = tarfile.SYMTYPE, "../../secret.jpg"
        tar.addfile(link)
    data = RS5M(root=str(tmp_path), split="train", shards={"train": ["train/*.tar"]})
    assert len(data) == 1 and abs(int(data[0].images[0].read()[0, 0, 0]) - 10) <= 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["secret.jpg", "train", "x.tar"]


def test_rs5m_refuses_what_is_not_there(tmp_path: Path) -> None:
    rs5m(tmp_path)
    with pytest.raises(UserError, match="unknown split of rs5m 'test'.*Known: train, val"):
        reader("rs5m", tmp_path, "test")
    with pytest.raises(UserError, match=r"no shard is .*nowhere-\*\.tar"):
        reader("rs5m", tmp_path, shards={"train": ["train/rs3-train-*.tar", "nowhere-*.tar"]})
    shard(tmp_path / "none.tar", [])
    with pytest.raises(UserError, match="hold no pair"):
        reader("rs5m", tmp_path, shards={"train": ["none.tar"]})
    shard(tmp_path / "latin.tar", [pair(10, caption="Ü".encode("latin-1"))])
    with pytest.raises(UserError, match="of latin:0 is not UTF-8"):
        reader("rs5m", tmp_path, shards={"train": ["latin.tar"]})[0]


def test_a_picture_in_a_tar_is_read_safely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"
    large, deep = jpeg(1, (60, 50), "PNG"), io.BytesIO()
    Image.new("I;16", (4, 4)).save(deep, "PNG")
    for content, message in (
        (b"<html>404</html>", "is not a picture"),
        (postscript, "is not a picture"),
        (large[: len(large) // 2], "is truncated or damaged"),
        (deep.getvalue(), "mode 'I;16'"),
        (b"", "is not a picture"),
    ):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(UserError, match=message):
            TarImage(tmp_path / "x", 0, len(content), "p.png").read()
    (tmp_path / "x").write_bytes(b"??" + large)
    image = TarImage(tmp_path / "x", 2, len(large), "p.png")
    assert image.read().shape == (50, 60, 3)
    monkeypatch.setattr("rsmoe.data.images.MAX_PIXELS", 2999)
    with pytest.raises(UserError, match=r"p\.png in .*more than 2,999 pixels"):
        image.read()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own guard speaks first
    with pytest.raises(UserError, match="more than 2,999 pixels"):
        image.read()
    with pytest.raises(UserError, match="is cut off: "):
        TarImage(tmp_path / "x", 2, len(large) + 9, "p.png").read()
    (tmp_path / "x").unlink()
    with pytest.raises(UserError, match="Put the shard back"):
        image.read()


# --- scene folders ---


def scenes(root: Path, folders: list[str], images: int = 10, suffix: str = "jpg") -> Path:
    for folder in folders:
        for i in range(images):
            save(root / folder / f"{folder}_{i + 1}.{suffix}")
    return root


def camel(words: str) -> str:
    return words.title().replace(" ", "")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("eurosat", camel),
        ("uc_merced", lambda words: words.replace(" ", "")),
        ("aid", camel),
        ("resisc45", lambda words: words.replace(" ", "_")),
    ],
)
def test_scene_yamls_know_the_folders_of_their_release(tmp_path: Path, name: str, folder: Any) -> None:
    options = config(name)
    images = 2 if name == "resisc45" else 10
    scenes(tmp_path / options["images"], [folder(words) for words in options["classes"]], images)
    parts = {split: reader(name, tmp_path, split) for split in ("train", "test")}
    for data in parts.values():
        same(data)
        assert data.counts["classes"] == len(options["classes"])
        assert {s.responses[0] for s in data} == set(options["classes"])
    sample = parts["train"][0]
    assert sample.task == "vqa" and sample.kind == "scene" and not sample.directional
    assert sample.meta == {"scene_class": sample.responses[0], "classes": tuple(options["classes"])}
    assert sample.instruction.startswith("What is the scene in this image? Answer with one of: ")
    assert sample.instruction.endswith(f"{options['classes'][-1]}.")


def test_scene_splits_are_stratified_disjoint_and_stable(tmp_path: Path) -> None:
    scenes(tmp_path, ["Forest", "SeaLake"])
    parts = {s: SceneFolder(root=str(tmp_path), split=s, name="toy") for s in ("train", "val", "test")}
    ids = {split: [s.id for s in data] for split, data in parts.items()}
    assert {split: len(names) for split, names in ids.items()} == {"train": 14, "val": 2, "test": 4}
    assert len({i for names in ids.values() for i in names}) == 20
    assert all(sum(i.startswith("Forest/") for i in names) * 2 == len(names) for names in ids.values())
    scenes(tmp_path, ["Beach"])  # another class moves nothing
    again = SceneFolder(root=str(tmp_path), split="test", name="toy")
    assert [s.id for s in again if not s.id.startswith("Beach")] == ids["test"]
    # written down, for the split is part of every number: a change of the rule has to be seen
    stems = ["Forest_1", "Forest_5", "SeaLake_10", "SeaLake_8"]
    assert [i.split("/")[1] for i in ids["test"]] == [f"{stem}.jpg" for stem in stems]
    everything = SceneFolder(root=str(tmp_path), split="train", name="toy", test_fraction=0.0, val_fraction=0.0)
    assert len(everything) == 30 and everything[0].instruction == "What is the scene in this image?"
    assert {s.responses[0] for s in everything} == {"beach", "forest", "sea lake"}


def test_scene_lists_decide_where_they_are_given(tmp_path: Path) -> None:
    scenes(tmp_path, ["Forest", "River"], 3)
    lists = {"train": "Forest_1.tif\nRiver/River_1.jpg\n\n", "test": "Forest_2.tif\n"}
    for part, content in lists.items():
        write(tmp_path / f"lists/{part}.txt", content)
    names = {part: f"lists/{part}.txt" for part in lists}
    (tmp_path / "classes").mkdir()
    for folder in ("Forest", "River"):
        (tmp_path / folder).rename(tmp_path / "classes" / folder)
    options: dict[str, Any] = {"root": str(tmp_path), "name": "toy", "images": "classes", "lists": names}
    train = SceneFolder(split="train", **options)
    assert [s.id for s in train] == ["Forest/Forest_1.jpg", "River/River_1.jpg"]
    assert train.unused == {"on no list": ["Forest_3", "River_2", "River_3"]}
    assert [s.id for s in SceneFolder(split="test", **options)] == ["Forest/Forest_2.jpg"]
    with pytest.raises(UserError, match="Known: test, train"):
        SceneFolder(split="val", **options)
    write(tmp_path / "lists/test.txt", "Forest_1.tif\n")
    with pytest.raises(UserError, match="name 1 images more than once: Forest_1"):
        SceneFolder(split="train", **options)
    write(tmp_path / "lists/test.txt", "Forest_9.tif\n")
    with pytest.raises(UserError, match="1 images without a file: Forest_9"):
        SceneFolder(split="train", **options)
    (tmp_path / "lists/test.txt").unlink()
    with pytest.raises(UserError, match=r"test\.txt does not exist"):
        SceneFolder(split="train", **options)


def test_scene_folders_refuse(tmp_path: Path) -> None:
    root = scenes(tmp_path / "r", ["Forest", "River"], 2)
    (root / ".cache").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "Forest/notes.txt").write_text("x")
    options: dict[str, Any] = {"root": str(root), "split": "train", "name": "toy"}
    assert len(SceneFolder(test_fraction=0.0, val_fraction=0.0, **options)) == 4
    with pytest.raises(UserError, match="Without a folder: sea; without a class: River"):
        SceneFolder(classes=["forest", "sea"], **options)
    with pytest.raises(UserError, match="below 1 together"):
        SceneFolder(test_fraction=0.6, val_fraction=0.4, **options)
    with pytest.raises(UserError, match="does not exist"):
        SceneFolder(images="absent", **options)
    with pytest.raises(UserError, match="holds no class folders"):
        SceneFolder(images="Forest", **options)
    save(root / "forest_/x.jpg")
    for classes in (["forest", "river"], None):
        with pytest.raises(UserError, match="are not its 2 classes, one each"):
            SceneFolder(classes=classes, **options)
    (root / "forest_/x.jpg").unlink()
    (root / "forest_").rmdir()
    save(root / "River/Forest_1.png")
    with pytest.raises(UserError, match="1 images are there twice: Forest_1"):
        SceneFolder(**options)
    (root / "River/Forest_1.png").unlink()
    (root / "River/River_1.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 images are empty files: River_1\.jpg"):
        SceneFolder(**options)
    (root / "Sea").mkdir()
    with pytest.raises(UserError, match="Sea holds no picture"):
        SceneFolder(**options)


def test_class_words() -> None:
    for folder in ("BaseballField", "baseball_field", "baseball-field", "baseball field", "Baseball_Field"):
        assert class_words(folder) == "baseball field"


# --- videos ---


def videos(root: Path, names: list[str], frames: int = 10) -> Path:
    rows = [
        {"video_id": f"{n}.mp4", "annotation": {"English_caption": [f"A fire {n}.", "On the left."]}} for n in names
    ]
    rows[0]["annotation"] = {"English_caption": "One caption."}
    for split in ("train", "test"):
        write(root / f"captions_{split}.json", rows)
    for name in names:
        for i in range(frames):
            save(root / f"frames/{name}/f{i + 1}.jpg", size=(4, 4))
        (root / f"frames/{name}/notes.txt").write_text("x")
    return root


def test_videos_give_frames_evenly_spaced_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    videos(tmp_path, ["Fire_001", "Fire_002"])
    data = reader("capera", tmp_path, "test", frames=4)
    same(data)
    assert data.counts == {"videos": 2, "images": 8, "captions": 3}
    assert [path.name for path in data[0].images] == ["f2.jpg", "f4.jpg", "f7.jpg", "f9.jpg"]  # 1.25, 3.75, 6.25, 8.75
    assert data[0].responses == ("One caption.",) and data[1].directional and data[1].task == "caption"
    every = reader("capera", tmp_path, "test", frames=10)[0].images
    assert [path.name for path in every] == [f"f{i}.jpg" for i in range(1, 11)]
    assert [path.name for path in reader("capera", tmp_path, "test", frames=1)[0].images] == ["f6.jpg"]


def test_videos_of_ones_own_and_held_out_val(tmp_path: Path) -> None:
    names = [f"clip {i}.v2" for i in range(20)]
    videos(tmp_path, names)
    write(tmp_path / "captions_train.json", {name: [f"Clip {name}.", ""] for name in names})
    parts = {split: reader("capera", tmp_path, split) for split in ("train", "val")}
    assert {split: len(data) for split, data in parts.items()} == {"train": 19, "val": 1}
    assert {s.id for data in parts.values() for s in data} == set(names)
    assert parts["val"].unused == {"empty caption": [parts["val"][0].id]}
    assert len(reader("capera", tmp_path, val_fraction=0.0)) == 20


def test_videos_refuse(tmp_path: Path) -> None:
    root = videos(tmp_path, ["a", "b", "c"])
    with pytest.raises(UserError, match=r"3 of 3 videos have less than 12 frames .*a \(10\), b \(10\).*data\.frames=6"):
        reader("capera", root, "test", frames=12)
    with pytest.raises(UserError, match="frames=0"):
        reader("capera", root, "test", frames=0)
    with pytest.raises(UserError, match="Known: test, train"):
        reader("capera", root, "val", val_fraction=0.0)
    with pytest.raises(UserError, match="Make the frames there"):
        reader("capera", root, "test", videos="absent")
    good = {"video_id": "a.mp4", "annotation": {"English_caption": "x"}}
    for content, message in (
        (7, "should be a list or an object"),
        ([{"video_id": "a"}], r"captions_test\.json\[0\]: no key 'annotation'"),
        ([{"video_id": "a", "annotation": {"Arabic_caption": "x"}}], "no key 'English_caption'"),
        ([good, good], "video 'a' is there twice"),
        ([good | {"annotation": {"English_caption": [1]}}], "captions of 'a' should be texts"),
        ([good | {"annotation": {"English_caption": " "}}], "video 'a' has no caption"),
        ([good | {"video_id": ".."}], r"\.\. \(0\)"),
        ([good | {"video_id": "../frames/a.mp4"}], r"\.\./frames/a \(0\)"),
        ([], "holds no video"),
    ):
        write(root / "captions_test.json", content)
        with pytest.raises(UserError, match=message):
            VideoFolder(root=str(root), split="test", name="capera", annotations={"test": "captions_test.json"})


# --- real files ---


@pytest.mark.real_data
def test_a_shard_of_real_pictures_reads_as_the_files_do(tmp_path: Path) -> None:
    real = instantiate(config("ucm_captions"), split="val")
    chosen = [real[i] for i in range(0, len(real), 30)]
    samples = [
        {
            "caption": s.responses[0].encode(),
            "img_content": s.images[0].read_bytes(),
            "img_name": s.id.encode(),
        }
        for s in chosen
    ]
    shard(tmp_path / "val/rs3-val-0000.tar", samples)
    data = reader("rs5m", tmp_path, "val", shards={"val": ["val/*.tar"]})
    for mine, theirs in zip(data, chosen, strict=True):
        np.testing.assert_array_equal(load_image(mine.images[0]), load_image(theirs.images[0]))
        assert mine.responses == theirs.responses[:1] and mine.meta["file"] == theirs.id


@pytest.mark.real_data
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_counts_are_the_official_ones(split: str) -> None:
    for name in ("ucm_captions", "rsicd", "rsivqa_ucm", "rsivqa_rsicd"):
        data = instantiate(config(name), split=split)
        official = data.official[split]
        assert official == {key: data.counts[key] for key in official} and data.unused == {}

"""Readers of questions, RSVQA and FloodNet-VQA: releases written here as they are, broken ones, and real files."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.readers import config, reader, same, write
from support.readers import save as picture
from support.release_questions import floodnet, triples

from rsmoe.data.rasters.images import load_image
from rsmoe.errors import UserError
from rsmoe.parts import instantiate

SIZE = (40, 20)
save = partial(picture, size=SIZE)

# --- RSVQA ---


def test_rsvqa_joins_the_lists_and_leaves_the_stubs(tmp_path: Path) -> None:
    data = reader("rsvqa_lr", triples(tmp_path), "train")
    same(data)
    assert [(s.id, s.kind, s.instruction, s.responses) for s in data] == [
        ("LR_split_train:10", "presence", "Is it presence", ("yes",)),
        ("LR_split_train:11", "count", "Is it count", ("0",)),
        ("LR_split_train:12", "comp", "Is it comp", ("no",)),
        ("LR_split_train:13", "rural_urban", "Is it rural_urban", ("rural",)),
    ]
    assert [s.images[0].name for s in data] == ["0.tif", "1.tif", "0.tif", "1.tif"]
    assert data[0].meta == {"part": "LR_split_train", "image_id": 0, "gsd_m": 10.0, "sensor": "S2"}
    assert data[0].task == "vqa" and load_image(data[0].images[0]).shape == (20, 40, 3)
    assert data.counts == {"images": 2, "questions": 4, "presence": 1, "count": 1, "comp": 1, "rural_urban": 1}
    assert data.unused == {
        "inactive images": ["LR_split_train:2"],
        "inactive questions": ["LR_split_train:30"],
        "inactive answers": ["LR_split_train:9"],
        "questions of inactive images": ["LR_split_train:20"],
        "questions without an active answer": ["LR_split_train:21"],
    }
    assert [s.kind for s in reader("rsvqa_lr", tmp_path, "train", kinds=["count", "comp"])] == ["count", "comp"]
    with pytest.raises(UserError, match="no active question of type .'area'."):
        reader("rsvqa_lr", tmp_path, "train", kinds=["area"])


def test_rsvqa_hr_has_two_test_sets(tmp_path: Path) -> None:
    triples(tmp_path, "USGS_split_test", 0, "Data")
    triples(tmp_path, "USGS_split_test_phili", 100, "Data")
    one, two, both = (reader("rsvqa_hr", tmp_path, split) for split in ("test_1", "test_2", "test"))
    same(both)
    assert [s.id for s in both] == [s.id for s in one] + [s.id for s in two] and len(both) == 8
    assert Counter(s.meta["part"] for s in both) == {"USGS_split_test": 4, "USGS_split_test_phili": 4}
    assert {s.images[0].name for s in two} == {"100.tif", "101.tif"}
    with pytest.raises(UserError, match=r"unknown split of rsvqa_hr 'test_3'.*test, test_1, test_2, train, val"):
        reader("rsvqa_hr", tmp_path, "test_3")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "questions",
            lambda rows: rows[0].update(img_id=77),
            r"1 ids of LR_split_train lead nowhere: question 10 -> image",
        ),
        ("answers", lambda rows: rows.pop(0), r"lead nowhere: question 10 -> answers \[0\]"),
        ("images", lambda rows: rows[0].pop("active"), r"LR_split_train_images.json, images\[0\]: no key 'active'"),
        ("questions", lambda rows: rows[0].pop("type"), "question 10: no key 'type'; found 'id'"),
        ("answers", lambda rows: rows[0].update(answer=3), "answer 0: 'answer' should be str, found int"),
        ("questions", lambda rows: [r.update(active=False) for r in rows], "no active question in split 'train'"),
    ],
)
def test_rsvqa_refuses(tmp_path: Path, file: str, change: Any, message: str) -> None:
    path = triples(tmp_path) / f"LR_split_train_{file}.json"
    content = json.loads(path.read_text())
    change(content[file])
    write(path, content)
    with pytest.raises(UserError, match=message):
        reader("rsvqa_lr", tmp_path, "train")


def test_rsvqa_names_missing_files(tmp_path: Path) -> None:
    triples(tmp_path)
    (tmp_path / "Images_LR/1.tif").unlink()
    with pytest.raises(UserError, match=r"1 of 2 .*1\.tif"):
        reader("rsvqa_lr", tmp_path, "train")
    with pytest.raises(UserError, match="LR_split_val_images.json does not exist"):
        reader("rsvqa_lr", tmp_path, "val")
    path = tmp_path / "LR_split_train_answers.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(UserError, match="answers.json is not json"):
        reader("rsvqa_lr", tmp_path, "train")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "split", "images", "kinds"),
    [
        ("rsvqa_lr", "train", 3, {"comp": 139, "presence": 85, "count": 73, "rural_urban": 3}),
        ("rsvqa_lr", "val", 5, {"comp": 192, "presence": 150, "count": 153, "rural_urban": 5}),
        ("rsvqa_lr", "test", 4, {"comp": 151, "presence": 121, "count": 124, "rural_urban": 4}),
        ("rsvqa_website_lr", "test", 50, {"comp": 1993, "presence": 1491, "count": 1471, "rural_urban": 50}),
    ],
)
def test_rsvqa_on_real_files(name: str, split: str, images: int, kinds: dict[str, int]) -> None:
    data = instantiate(config(name), split=split)
    same(data)
    assert data.counts == {"images": images, "questions": sum(kinds.values()), **kinds}
    assert Counter(s.kind for s in data) == kinds
    assert all(load_image(path).shape == (256, 256, 3) for path in {s.images[0] for s in data})
    assert all(s.meta["gsd_m"] == 10.0 and s.meta["sensor"] == "S2" for s in data)
    if name == "rsvqa_lr":
        # the files are in Web Mercator, whose "16.48 m" are 10 m of ground
        assert all(s.georeference is not None and abs(s.georeference.gsd_m - 10) < 0.2 for s in data)
        assert data.unused.keys() == {"inactive images"}
        answers = {"presence": {"yes", "no"}, "comp": {"yes", "no"}, "rural_urban": {"rural", "urban"}}
        assert all(set(s.responses) <= answers.get(s.kind, set(s.responses)) for s in data)
        assert all(s.responses[0].isdigit() for s in data if s.kind == "count")
    else:
        assert data.counts["questions"] == data.official["test"]["questions"]


# --- FloodNet-VQA ---


def test_floodnet_holds_out_whole_pictures(tmp_path: Path) -> None:
    floodnet(tmp_path)
    train, val = reader("floodnet_vqa", tmp_path, "train"), reader("floodnet_vqa", tmp_path, "val")
    same(train)
    assert train.counts["images"] == 18 and val.counts["images"] == 2 and val.counts["questions"] == 8
    assert not {s.images[0] for s in train} & {s.images[0] for s in val}
    assert {s.kind: s.responses[0] for s in val} == {
        "Condition_Recognition": "non flooded",
        "Yes_No": "Yes",
        "Simple_Counting": "4",
        "Complex_Counting": "0",  # zero is an answer
    }
    assert train.unused == {"questions without a published answer": ["x"]}
    assert len(reader("floodnet_vqa", tmp_path, "train", val_fraction=0)) == 80
    assert {s.kind for s in reader("floodnet_vqa", tmp_path, "val", kinds=["Yes_No"])} == {"Yes_No"}


def test_floodnet_refuses(tmp_path: Path) -> None:
    floodnet(tmp_path, 3)
    with pytest.raises(UserError, match=r"'test'.*Known: train, val"):
        reader("floodnet_vqa", tmp_path, "test")
    with pytest.raises(UserError, match="val_fraction=1"):
        reader("floodnet_vqa", tmp_path, "train", val_fraction=1.0)
    with pytest.raises(UserError, match="no question of type"):
        reader("floodnet_vqa", tmp_path, "train", kinds=["No"])
    path = tmp_path / "Questions/Training Question.json"
    write(path, {"0": {"Image_ID": "7000.JPG", "Question": "Is it?", "Question_Type": "Yes_No"}})
    with pytest.raises(UserError, match="only the training questions have them"):
        reader("floodnet_vqa", tmp_path, "train")
    write(path, {"0": {"Image": "7000.JPG"}})
    with pytest.raises(UserError, match="question '0': no key 'Image_ID'; found 'Image'"):
        reader("floodnet_vqa", tmp_path, "train")
    write(path, [1])
    with pytest.raises(UserError, match="expected an object of questions by key, found list"):
        reader("floodnet_vqa", tmp_path, "train")

"""Readers of questions, of conversations and of one's own data: releases written here as they are, and broken ones."""

from __future__ import annotations

import csv
import inspect
import json
import os
import textwrap
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.errors
import yaml
from affine import Affine
from PIL import Image

from rsmoe.config import conf_dir, instantiate
from rsmoe.data.choices import fill, lettered
from rsmoe.data.conversations import DialogueForm, holds_coordinates, read_dialogue
from rsmoe.data.declared_tasks import DeclaredTasks
from rsmoe.data.image_tree import below, find_in_tree
from rsmoe.data.images import load_image, read_array
from rsmoe.data.own_table import OwnTable
from rsmoe.errors import UserError

SIZE = (40, 20)
"""(width, height) of the pictures written here: not square, so that mixed-up axes are seen."""


def save(path: Path, value: int = 90, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, SIZE, value if mode == "L" else (value,) * len(mode)).save(path)
    return path


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lines(path: Path, rows: list[Any]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def read(name: str, root: Path, split: str, **changes: Any) -> Any:
    """The data set of a yaml."""
    node = yaml.safe_load((conf_dir() / "data" / f"{name}.yaml").read_text())
    return instantiate({**node, "root": str(root), **changes}, split=split)


def no_root(name: str) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / "data" / f"{name}.yaml").read_text())


def follows_the_contract(data: Any, split: str) -> None:
    """What every reader has, beyond its samples."""
    samples = [data[i] for i in range(len(data))]
    assert data.split == split and data.protocol == "" and samples
    assert len({s.id for s in samples}) == len(samples)
    assert all(s.source == data.name and s.instruction for s in samples)
    assert all(isinstance(n, int) for n in data.counts.values()) and data.counts["images"]
    assert all(isinstance(n, int) for row in data.official.values() for n in row.values())
    assert all(rows and all(isinstance(row, str) for row in rows) for rows in data.unused.values())
    assert all(isinstance(path, Path) and path.is_file() for s in samples for path in s.images)
    again = [data[i] for i in range(len(data))]
    assert [(s.id, s.instruction, s.meta) for s in again] == [(s.id, s.instruction, s.meta) for s in samples]


# --- RSVQA ---


def triples(root: Path, part: str = "LR_split_train", first: int = 0, images: str = "Images_LR") -> Path:
    """Two active images and a stub; a stub question, one of the stub image, one whose answer is a stub."""
    facts = {"sensor": "S2", "res_x": "10m", "res_y": "10m", "type": "RGB", "original_name": "S2A.tif", "active": True}
    ids = [first, first + 1]
    pictures = [{"id": i, "questions_ids": [], **facts} for i in ids] + [{"id": first + 2, "active": False}]
    kinds = ("presence", "count", "comp", "rural_urban")
    asked = [
        {
            "id": first + 10 + k,
            "img_id": ids[k % 2],
            "type": kind,
            "question": f"Is it {kind}",
            "answers_ids": [first + k],
        }
        for k, kind in enumerate(kinds)
    ]
    asked.append({"id": first + 20, "img_id": first + 2, "type": "count", "question": "lost", "answers_ids": [first]})
    asked.append({"id": first + 21, "img_id": first, "type": "count", "question": "mute", "answers_ids": [first + 9]})
    questions = [row | {"active": True} for row in asked] + [{"id": first + 30, "active": False}]
    said = [
        {"id": first + k, "question_id": 0, "answer": a, "active": True}
        for k, a in enumerate(("yes", "0", "no", "rural"))
    ]
    answers = said + [{"id": first + 9, "active": False}]
    for name, rows in (("images", pictures), ("questions", questions), ("answers", answers)):
        write(root / f"{part}_{name}.json", {name: rows})
    for i in ids:
        save(root / images / f"{i}.tif", i % 256)
    return root


def test_rsvqa_joins_the_lists_and_leaves_the_stubs(tmp_path: Path) -> None:
    data = read("rsvqa_lr", triples(tmp_path), "train")
    follows_the_contract(data, "train")
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
    assert [s.kind for s in read("rsvqa_lr", tmp_path, "train", kinds=["count", "comp"])] == ["count", "comp"]
    with pytest.raises(UserError, match="no active question of type .'area'."):
        read("rsvqa_lr", tmp_path, "train", kinds=["area"])


def test_rsvqa_hr_has_two_test_sets(tmp_path: Path) -> None:
    triples(tmp_path, "USGS_split_test", 0, "Data")
    triples(tmp_path, "USGS_split_test_phili", 100, "Data")
    one, two, both = (read("rsvqa_hr", tmp_path, split) for split in ("test_1", "test_2", "test"))
    follows_the_contract(both, "test")
    assert [s.id for s in both] == [s.id for s in one] + [s.id for s in two] and len(both) == 8
    assert Counter(s.meta["part"] for s in both) == {"USGS_split_test": 4, "USGS_split_test_phili": 4}
    assert {s.images[0].name for s in two} == {"100.tif", "101.tif"}
    with pytest.raises(UserError, match=r"unknown split of rsvqa_hr 'test_3'.*test, test_1, test_2, train, val"):
        read("rsvqa_hr", tmp_path, "test_3")


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
        read("rsvqa_lr", tmp_path, "train")


def test_rsvqa_names_missing_files(tmp_path: Path) -> None:
    triples(tmp_path)
    (tmp_path / "Images_LR/1.tif").unlink()
    with pytest.raises(UserError, match=r"1 of 2 .*1\.tif"):
        read("rsvqa_lr", tmp_path, "train")
    with pytest.raises(UserError, match="LR_split_val_images.json does not exist"):
        read("rsvqa_lr", tmp_path, "val")
    path = tmp_path / "LR_split_train_answers.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(UserError, match="answers.json is not json"):
        read("rsvqa_lr", tmp_path, "train")


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
    data = instantiate(no_root(name), split=split)
    follows_the_contract(data, split)
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


def floodnet(root: Path, pictures: int = 20) -> Path:
    kinds = {"Condition_Recognition": "non flooded", "Yes_No": "Yes", "Simple_Counting": 4, "Complex_Counting": 0}
    rows: dict[str, Any] = {}
    for i in range(pictures):
        save(root / f"Images/Train_Image/{7000 + i}.JPG")
        for kind, answer in kinds.items():
            text = f"What of {kind}?"
            row = {"Image_ID": f"{7000 + i}.JPG", "Question": text, "Ground_Truth": answer, "Question_Type": kind}
            rows[str(len(rows))] = row
    rows["x"] = {"Image_ID": "7000.JPG", "Question": "What now?", "Question_Type": "Yes_No"}
    write(root / "Questions/Training Question.json", rows)
    return root


def test_floodnet_holds_out_whole_pictures(tmp_path: Path) -> None:
    floodnet(tmp_path)
    train, val = read("floodnet_vqa", tmp_path, "train"), read("floodnet_vqa", tmp_path, "val")
    follows_the_contract(train, "train")
    assert train.counts["images"] == 18 and val.counts["images"] == 2 and val.counts["questions"] == 8
    assert not {s.images[0] for s in train} & {s.images[0] for s in val}
    assert {s.kind: s.responses[0] for s in val} == {
        "Condition_Recognition": "non flooded",
        "Yes_No": "Yes",
        "Simple_Counting": "4",
        "Complex_Counting": "0",  # zero is an answer
    }
    assert train.unused == {"questions without a published answer": ["x"]}
    assert len(read("floodnet_vqa", tmp_path, "train", val_fraction=0)) == 80
    assert {s.kind for s in read("floodnet_vqa", tmp_path, "val", kinds=["Yes_No"])} == {"Yes_No"}


def test_floodnet_refuses(tmp_path: Path) -> None:
    floodnet(tmp_path, 3)
    with pytest.raises(UserError, match=r"'test'.*Known: train, val"):
        read("floodnet_vqa", tmp_path, "test")
    with pytest.raises(UserError, match="val_fraction=1"):
        read("floodnet_vqa", tmp_path, "train", val_fraction=1.0)
    with pytest.raises(UserError, match="no question of type"):
        read("floodnet_vqa", tmp_path, "train", kinds=["No"])
    path = tmp_path / "Questions/Training Question.json"
    write(path, {"0": {"Image_ID": "7000.JPG", "Question": "Is it?", "Question_Type": "Yes_No"}})
    with pytest.raises(UserError, match="only the training questions have them"):
        read("floodnet_vqa", tmp_path, "train")
    write(path, {"0": {"Image": "7000.JPG"}})
    with pytest.raises(UserError, match="question '0': no key 'Image_ID'; found 'Image'"):
        read("floodnet_vqa", tmp_path, "train")
    write(path, [1])
    with pytest.raises(UserError, match="expected an object of questions by key, found list"):
        read("floodnet_vqa", tmp_path, "train")


# --- choices: LHRS-Bench and GEOBench-VLM ---


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("A. tower B. road", {"A": "tower", "B": "road"}),
        ("A.tower; B.the U.S. C.", {"A": "tower", "B": "the U.S", "C": ""}),
        ("A. 1\nB. 2\nC. 3\nD. 4", {"A": "1", "B": "2", "C": "3", "D": "4"}),
        ("A. plan B, say B. plan A. C. none", {"A": "plan B, say", "B": "plan A.", "C": "none"}),
    ],
)
def test_lettered_choices(text: str, options: dict[str, str]) -> None:
    found = lettered(text, "here")
    assert {key: value.rstrip(".") for key, value in found.items()} == {k: v.rstrip(".") for k, v in options.items()}


@pytest.mark.parametrize("text", ["", "tower, road", "A. only one", "B. road A. tower", "see A. tower B. road"])
def test_choices_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="here: expected choices as 'A. ... B. ...'"):
        lettered(text, "here")


def test_requests_are_filled_once() -> None:
    assert fill("{question} [{options}]", question="{options}?", options="{x}") == "{options}? [{x}]"
    for request in ("Answer.", "{question} {optoins}"):
        with pytest.raises(UserError, match="should hold {question} and may hold {question}, {options}"):
            fill(request, question="a", options="b")


def lhrs(root: Path, **change: Any) -> Path:
    pair = {"question": "What is it?", "choices": "A. A harbour B. A road", "answer": "A.", "type": ["1", "7"]} | change
    second = {"question": "Where is the ship?", "choices": "A. left B. right", "answer": "B", "type": ["7"]}
    types = {"1 identity": ["x"], "7 location": ["y"]}
    write(root / "qa.json", {"data": [{"filename": "a.png", "qa_pairs": [pair, second]}], "qtype": types})
    save(root / "images/a.png")
    return root


def test_lhrs_bench_keeps_choices_and_letter(tmp_path: Path) -> None:
    data = read("lhrs_bench", lhrs(tmp_path), "test")
    follows_the_contract(data, "test")
    first, second = data
    assert first.instruction.startswith("What is it?\nChoices: A. A harbour B. A road Answer from")
    assert first.responses == ("A.",) and first.meta["answer"] == "A" and first.task == "vqa"
    assert first.meta["options"] == {"A": "A harbour", "B": "A road"}
    assert first.kind == "identity" and first.meta["kinds"] == ("identity", "location")
    assert second.meta["answer"] == "B" and [s.directional for s in data] == [False, True]
    assert data.counts == {"images": 1, "questions": 2, "identity": 1, "location": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "C."}, "the answer 'C.' is none of the choices A, B"),
        ({"type": ["9"]}, r"the types \['9'\] are not all among those of 'qtype': 1, 7"),
        ({"type": []}, "the types"),
        ({"choices": "harbour, road"}, r"data\[0\].qa_pairs\[0\]: expected choices as"),
        ({"question": None}, "'question' should be str"),
    ],
)
def test_lhrs_bench_refuses(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read("lhrs_bench", lhrs(tmp_path, **change), "test")


def test_lhrs_bench_is_a_test_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Known: test"):
        read("lhrs_bench", lhrs(tmp_path), "train")
    with pytest.raises(UserError, match="should hold {question}"):
        read("lhrs_bench", tmp_path, "test", request="Answer!")
    write(tmp_path / "qa.json", {"data": [], "qtype": {}})
    with pytest.raises(UserError, match="holds no question"):
        read("lhrs_bench", tmp_path, "test")


def geobench(root: Path, **change: Any) -> Path:
    row: dict[str, Any] = {
        "image_path": "Single/images/a.png",
        "prompts": ["What ship is it?", "Which ship is shown?"],
        "options": "A. Tug B. Ferry C. Yacht D. Tanker E. Barge",
        "options_list": ["Tug", "Ferry", "Yacht", "Tanker", "Barge"],
        "ground_truth": "Ferry",
        "ground_truth_option": "B",
        "task": "Ship Type Classification",
        "question_id": 17,
        "cls_description": "Ships are floating.",
    }
    dates = [f"Temporal/images/s_{i}.png" for i in range(3)]
    write(root / "Single/qa.json", [row | change])
    write(root / "Temporal/qa.json", [row | {"image_path": dates, "task": "Crop Type", "prompts": ["What grows?"]}])
    for path in ("Single/images/a.png", *dates):
        save(root / path)
    return root


def test_geobench_asks_every_paraphrase(tmp_path: Path) -> None:
    data = read("geobench_vlm", geobench(tmp_path), "test")
    follows_the_contract(data, "test")
    assert [(s.task, s.kind, len(s.images)) for s in data] == [
        ("vqa", "Ship Type Classification", 1),
        ("vqa", "Ship Type Classification", 1),
        ("change_vqa", "Crop Type", 3),
    ]
    assert [path.name for path in data[2].images] == ["s_0.png", "s_1.png", "s_2.png"]
    assert data[0].instruction.split("\n")[:3] == [
        "Ships are floating.",
        "What ship is it?",
        "Options: A. Tug B. Ferry C. Yacht D. Tanker E. Barge",
    ]
    assert data[0].responses == ("B",) and data[0].meta["answer"] == "B" and data[0].meta["question_id"] == 17
    assert data[0].meta["options"] == dict(zip("ABCDE", ["Tug", "Ferry", "Yacht", "Tanker", "Barge"], strict=True))
    assert data[0].meta["item"] == data[1].meta["item"] != data[2].meta["item"]
    assert data.counts == {"images": 4, "items": 2, "questions": 3, "Ship Type Classification": 2, "Crop Type": 1}
    assert len(read("geobench_vlm", tmp_path, "test", paraphrases=1)) == 2
    assert [s.kind for s in read("geobench_vlm", tmp_path, "test", parts=["Temporal"])] == ["Crop Type"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ground_truth_option": "F"}, "'ground_truth_option' among A, B, C, D, E; found 'F'"),
        ({"prompts": []}, "and 0 prompts"),
        ({"image_path": "../secret.png"}, "does not lie in"),
        ({"image_path": "Single/images/none.png"}, "1 of 1 .* have no image"),
        ({"image_path": []}, "should be a path or a list of paths"),
        ({"options_list": "Tug"}, "'options_list' should be list"),
    ],
)
def test_geobench_refuses(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    save(tmp_path / "secret.png")
    with pytest.raises(UserError, match=message):
        read("geobench_vlm", geobench(tmp_path / "release", **change), "test")


def test_geobench_names_its_parts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown part of geobench_vlm 'Singel'. Did you mean 'Single'"):
        read("geobench_vlm", geobench(tmp_path), "test", parts=["Singel"])
    with pytest.raises(UserError, match="no question in no part"):
        read("geobench_vlm", tmp_path, "test", parts=[])
    write(tmp_path / "Single/qa.json", {"questions": []})
    with pytest.raises(UserError, match="expected a list of questions, found dict"):
        read("geobench_vlm", tmp_path, "test")


# --- RSWK ---


def message(question: str, answer: str, image: str, **more: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": f"<image>{question}"}, {"role": "assistant", "content": answer}]
    return {"messages": said, "images": [image], **more}


def rswk(root: Path, *, old: bool = False) -> Path:
    name = "St. John's Church.png" if old else "000474.png"
    save(root / "images" / name)
    full = root / "DATASET_FULL"
    lines(full / "image_captioning/image_captioning_full_test_2993.jsonl", [message("Describe it.", "A church.", name)])
    lines(full / "image_classification/image_classification_full_test_2993.jsonl", [message("What?", "Church", name)])
    lines(
        full / "vqa/vqa_wk/vqa_wk_full_test_2993.jsonl",
        [message("When?", "1843", name, task="Visual Question Answering")],
    )
    lines(full / "vqa/vqa_rsk/vqa_rsk_full_test_2993.jsonl", [message("NDVI in May 2019?", "0.4", name)])
    pairs = [{"question": "Is it wet?", "answer": "No."}, {"question": "", "answer": "x"}]
    row = (
        {"image_name": Path(name).stem, "gpt_output": pairs}
        if old
        else {"ID": "000474", "Name": "x", "qa_pairs": pairs}
    )
    write(full / "vqa/vqa_c/vqa_c_full_test_4501.json", [row])
    facts = {"world knowledge": {"Category": "Church"}, "remote sensing expert knowledge": {"ALBEDO": 0.13}}
    records = [{"ID": "000474", "image_name": "St. John's Church", **facts}, {"ID": "1", "image_name": "None", **facts}]
    write(root / "ORI_DATASET/ori_data_test.json", records)
    return root


@pytest.mark.parametrize("old", [False, True])
def test_rswk_joins_answers_and_knowledge(tmp_path: Path, old: bool) -> None:
    data = read("rswk", rswk(tmp_path, old=old), "test")
    follows_the_contract(data, "test")
    assert [(s.task, s.kind, s.instruction, s.responses[0]) for s in data] == [
        ("caption", "caption", "Describe it.", "A church."),
        ("vqa", "classification", "What?", "Church"),
        ("vqa", "vqa_wk", "When?", "1843"),
        ("vqa", "vqa_rsk", "NDVI in May 2019?", "0.4"),
        ("vqa", "vqa_c", "Is it wet?", "No."),
    ]
    knowledge = {"world knowledge": {"Category": "Church"}, "remote sensing expert knowledge": {"ALBEDO": 0.13}}
    assert all(s.meta == {"knowledge": knowledge} for s in data)
    assert data.counts == {"images": 1, **dict.fromkeys([s.kind for s in data], 1), "with_knowledge": 1}
    assert data.unused == {"turns with an empty question or answer": ["vqa_c_full_test_4501.json, [0]"]}
    assert data.official["test"]["caption"] == 2993
    few = read("rswk", tmp_path, "test", kinds=["vqa_wk"], knowledge=None)
    assert [s.kind for s in few] == ["vqa_wk"] and few[0].meta == {}


def test_rswk_refuses(tmp_path: Path) -> None:
    rswk(tmp_path)
    with pytest.raises(UserError, match="unknown kind of rswk 'captoin'. Did you mean 'caption'"):
        read("rswk", tmp_path, "test", kinds=["captoin"])
    with pytest.raises(UserError, match="Known: mini_test, test, train"):
        read("rswk", tmp_path, "val")
    (tmp_path / "ORI_DATASET/ori_data_test.json").unlink()
    with pytest.raises(UserError, match="ori_data_test.json does not exist"):
        read("rswk", tmp_path, "test")
    path = tmp_path / "DATASET_FULL/image_captioning/image_captioning_full_test_2993.jsonl"
    for content, fault in (
        ('{"messages": [', "line 1, is not json"),
        ("[1]\n", "line 1: expected an object, found list"),
        (json.dumps({"text": "x"}), "line 1: no key 'ID'; found 'text'"),
        (json.dumps(message("q", "a", "000474.png") | {"images": []}), "expected one image"),
    ):
        write(path, content)
        with pytest.raises(UserError, match=fault):
            read("rswk", tmp_path, "test")


# --- conversations ---


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"from": "gpt" if i % 2 else "human", "value": text} for i, text in enumerate(texts)]


def test_dialogues_are_taken_apart() -> None:
    row = {"conversations": talk("<image>\nWhat is it?", "A port.", "And\n<image> here?", "A road.", "Why?")}
    said = read_dialogue(row, DialogueForm(), "here")
    assert said.turns == (("What is it?", "A port."), ("And here?", "A road."))
    assert said.images == 2 and said.videos == 0 and said.unused == ("questions without an answer",)
    empty = read_dialogue({"conversations": talk("<video>", "A port.", "What?", " ")}, DialogueForm(), "here")
    assert empty.turns == () and empty.videos == 1 and len(empty.unused) == 2


def test_dialogues_that_are_none() -> None:
    for row, fault in (
        ({"messages": []}, "no key 'conversations'; found 'messages'"),
        ({"conversations": talk("a", "b")[::-1]}, r"conversations\[0\]: expected 'from' to be 'human', found 'gpt'"),
        ({"conversations": [{"from": "system", "value": "x"}]}, "found 'system'; turns have to alternate"),
        ({"conversations": [{"value": "x"}]}, "no key 'from'"),
        ({"conversations": [{"from": "human", "value": 3}]}, "'value' should be str, found int"),
    ):
        with pytest.raises(UserError, match=fault):
            read_dialogue(row, DialogueForm(), "here")
    nameless = {"conversations": [{"value": "a"}, {"from": "gpt", "value": "b"}]}
    assert read_dialogue(nameless, DialogueForm(by_place=True), "here").turns == (("a", "b"),)
    with pytest.raises(UserError, match="found 'human'"):
        read_dialogue(
            {"conversations": [{"value": "a"}, {"from": "human", "value": "b"}]}, DialogueForm(by_place=True), "x"
        )


def test_boxes_in_words_are_seen() -> None:
    for text in ("at [10, 20, 30, 40].", "{<10><20><30><40>|<5>}", "(0.12, 0.5, 0.3, 0.44)", "<p>a</p> {<1><2><3><4>}"):
        assert holds_coordinates(text), text
    for text in ("two [refer] ships", "in 2017, 2018, 2019 and 2020", "(a 3 x 4 grid of 5 by 6)", "[10, 20]", "{}"):
        assert not holds_coordinates(text), text


def test_tasks_are_declared_in_order() -> None:
    declared = DeclaredTasks(tags={"[refer]": "ground"}, key="task", values={"count": ["vqa", "change_vqa"]})

    def task(question: str, images: int = 1, file_task: Any = None, **row: Any) -> tuple[str, str]:
        return declared.of(question, row, images=images, file_task=file_task, where="here")

    assert task("[refer] the ship", task="count") == ("ground", "refer")
    assert task("[Refer] the ship") == ("ground", "refer")
    assert task("How many?", task="count") == ("vqa", "count")
    assert task("How many?", 5, task="count") == ("change_vqa", "count")
    assert task("What?", file_task="caption", task="else") == ("caption", "else")
    for question, row, known in (
        ("[grounding] all", {}, r"the tag \[grounding\].*\(\[grounding\]: ground\)"),
        ("What?", {"task": "size"}, r"task='size'.*\(size: vqa\)"),
        ("What?", {}, "neither a tag nor a task"),
    ):
        with pytest.raises(UserError, match=f"here: no task is declared for a row with {known}"):
            task(question, **row)
    with pytest.raises(UserError, match="unknown task of conversations 'vqaa'. Did you mean 'vqa'"):
        DeclaredTasks(tags={"[vqa]": "vqaa"})
    with pytest.raises(UserError, match="unknown task of conversations 'mask'"):
        DeclaredTasks(values={"seg": "mask"})
    with pytest.raises(UserError, match="expected a task, or two"):
        DeclaredTasks(values={"x": ["vqa"]})


def geochat(root: Path) -> Path:
    rows = [
        {
            "id": "a",
            "image": "a.png",
            "conversations": talk("<image>\nIs it rural?\nOne word.", "rural", "Why?", "Trees."),
        },
        {"id": "b", "image": "b.jpg", "conversations": talk("<image>\n[refer] the ship", "{<10><20><30><60>|<90>}")},
        {
            "id": "b",
            "image": "b.jpg",
            "conversations": talk("<image>\n[identify] {<0><0><9><9>|<0>}", "a ship on the left"),
        },
        {"id": "b", "image": "b.jpg", "conversations": talk("<image>\n[grounding] all", "nothing here")},
        {"id": "c", "conversations": talk("Who are you?", "GeoChat.")},
    ]
    save(root / "images/a.png")
    save(root / "images/b.jpg")
    write(root / "GeoChat_Instruct.json", rows)
    return root


def test_geochat_gives_one_sample_a_turn(tmp_path: Path) -> None:
    data = read("geochat_instruct", geochat(tmp_path), "train")
    follows_the_contract(data, "train")
    assert [(s.id, s.task, s.kind) for s in data] == [
        ("GeoChat_Instruct:0:0", "vqa", ""),
        ("GeoChat_Instruct:0:1", "vqa", ""),
        ("GeoChat_Instruct:1:0", "ground", "refer"),
        ("GeoChat_Instruct:2:0", "vqa", "identify"),
        ("GeoChat_Instruct:3:0", "ground", "grounding"),
    ]
    assert data[0].instruction == "Is it rural?\nOne word." and data[0].history == ()
    assert data[1].history == (("Is it rural?\nOne word.", "rural"),) and data[1].responses == ("Trees.",)
    assert data[2].instruction == "[refer] the ship" and data[0].meta == {"row_id": "a"}
    assert [s.directional for s in data] == [False, False, True, True, False]
    # 10..30 % of 40 px and 20..60 % of 20 px: 8 x 8 around (8, 8); a quarter turn of a square
    np.testing.assert_allclose(np.abs(data[2].obb_px), [[8, 8, 8, 8, 90]], atol=1e-4)
    np.testing.assert_allclose(data[2].boxes_px, [[4, 4, 12, 12]], atol=1e-4)
    assert data[2].meta["box_convention"] == "geochat_counterclockwise" and data[2].meta["size_px"] == SIZE
    assert data[3].boxes_px is None and data[4].obb_px is None and "holds no box" in data[4].meta["box_failures"][0]
    assert data.counts == {"images": 2, "conversations": 4, "questions": 5, "vqa": 3, "ground": 2}
    assert data.unused == {"rows without an image": ["GeoChat_Instruct.json, [4]"]}


def test_boxes_are_read_only_under_a_convention(tmp_path: Path) -> None:
    data = read("geochat_instruct", geochat(tmp_path), "train", boxes=None)
    assert all(s.boxes_px is None and s.obb_px is None and "box_failures" not in s.meta for s in data)
    turned = read("geochat_instruct", tmp_path, "train", boxes="geochat_clockwise")
    assert turned[2].obb_px is not None
    wrong = read("geochat_instruct", tmp_path, "train", boxes="skyeye")
    assert wrong[2].boxes_px is None and "not in its form" in wrong[2].meta["box_failures"][0]
    with pytest.raises(UserError, match="unknown box convention 'geochat'"):
        read("geochat_instruct", tmp_path, "train", boxes="geochat")


def test_skyeye_reads_its_files_apart(tmp_path: Path) -> None:
    part = no_root("skyeye_968k")["files"]["train"]
    assert len(part) == 19 and {p["task"] for p in part} == {"caption", "vqa", "ground"}
    for i, p in enumerate(part):
        save(tmp_path / p["images"] / "x/1.jpg", i)
        answer = "{<0><0><50><50>}" if p["task"] == "ground" else "A port."
        rows = [
            {
                "id": 1,
                "image": "x/1.jpg",
                "conversations": talk("<image>\n[refer] it" * (p["task"] == "ground") or "What?", answer),
            }
        ]
        write(tmp_path / p["path"], rows)
    data = read("skyeye_968k", tmp_path, "train")
    follows_the_contract(data, "train")
    assert data.counts["questions"] == 19 and data.counts["ground"] == 3 and data.counts["caption"] == 6
    boxes = [s.boxes_px for s in data if s.task == "ground"]
    assert all(b is not None and b.tolist() == [[0, 0, 20, 10]] for b in boxes)
    assert all(s.images[0].parent.name == "x" for s in data)
    few = {"train": [{"path": "vg/DIORvg_train.json", "images": "images/DIOR", "task": "ground"}]}
    assert len(read("skyeye_968k", tmp_path, "train", files=few)) == 1


def teochat(root: Path, split: str = "train", **more: Any) -> Path:
    rows = [
        {
            "id": 7,
            "video": ["f/late.png", "f/early.png", "f/mid.png"],
            "metadata": [{"timestamp": day, "gsd": 0.5} for day in ("2019-05-03", "2015-05-03", "2017-5-3")],
            "task": "temporal_scene_classification",
            "dataset": "fMoW",
            "conversations": talk("This is a sequence: <video>\nWhich class is it?", "airport"),
        },
        {
            "video": ["f/early.png", "f/late.png"],
            "task": "change_detection_localization",
            "polygon": ["POLYGON ((0 0, 1 0, 1 1, 0 0))"],
            "conversations": talk("Images: <video> Find the buildings.", "[0, 0, 50, 50], [50, 50, 100, 100]."),
        },
        {"image": "f/early.png", "task": "scene_classification", "conversations": talk("<image> Which class?", "barn")},
    ]
    for name in ("late", "early", "mid"):
        save(root / f"{split}/f/{name}.png")
    write(root / "train/instruct.json", [row | more for row in rows])
    return root


def test_teochatlas_sorts_frames_by_their_dates(tmp_path: Path) -> None:
    data = read("teochatlas", teochat(tmp_path), "train")
    follows_the_contract(data, "train")
    assert [(s.task, s.kind) for s in data] == [
        ("change_vqa", "temporal_scene_classification"),
        ("ground", "change_detection_localization"),
        ("vqa", "scene_classification"),
    ]
    first, second, third = data
    assert [path.stem for path in first.images] == ["early", "mid", "late"]
    assert [m["timestamp"] for m in first.meta["metadata"]] == ["2015-05-03", "2017-5-3", "2019-05-03"]
    assert first.meta["dataset"] == "fMoW" and first.meta["row_id"] == 7
    assert first.instruction == "This is a sequence: Which class is it?"
    assert [path.stem for path in second.images] == ["early", "late"] and "polygon" in second.meta
    assert second.boxes_px is not None and second.boxes_px.tolist() == [[0, 0, 20, 10], [20, 10, 40, 20]]
    assert len(third.images) == 1 and third.boxes_px is None


def test_teochatlas_eval_files(tmp_path: Path) -> None:
    """Paths begin with the folder, and some messages do not say who speaks."""
    save(tmp_path / "eval/External_images/1.png")
    row = {
        "video": ["TEOChatlas/eval/External_images/1.png"],
        "conversations": [{"value": "<video> What?"}, {"value": "a"}],
    }
    for part in no_root("teochatlas")["files"]["test"]:
        write(tmp_path / part["path"], [row])
    data = read("teochatlas", tmp_path, "test")
    follows_the_contract(data, "test")
    assert len(data) == 17 and data[0].instruction == "What?" and data[0].task == "vqa"
    with pytest.raises(UserError, match=r"no key 'from'"):
        read("teochatlas", tmp_path, "test", by_place=False)
    with pytest.raises(UserError, match="TEOChatlas.* does not exist"):
        read("teochatlas", tmp_path, "test", path_prefix="")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"metadata": [{"timestamp": "2019-05-03"}]}, "1 timestamps for 3 images"),
        ({"metadata": [{"timestamp": "May 2019"}] * 3}, "expected a timestamp 'YYYY-MM-DD'.*May 2019"),
        ({"metadata": [{"timestamp": "2019-05-03"}, {}, {}]}, "expected a timestamp"),
        ({"image": "f/mid.png"}, "more than one of the keys video, image"),
        ({"video": "../../secret.png", "image": None}, "does not lie in"),
        ({"video": [1, 2], "image": None}, "expected a path or a list of paths"),
        ({"conversations": talk("<image><image> What?", "a"), "image": None}, "2 times <image> for 3 images"),
    ],
)
def test_teochatlas_refuses(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    save(tmp_path / "secret.png")
    with pytest.raises(UserError, match=message):
        read("teochatlas", teochat(tmp_path / "release", **more), "train")


def test_rs_gpt4v_and_llava_yamls(tmp_path: Path) -> None:
    rows = [{"id": "1", "image": "a.png", "conversations": talk("<image> What?", "A port.")}]
    pair = [{"id": "1", "image": ["a.png", "b.png"], "conversations": talk("<image> <image> What changed?", "A road.")}]
    for name in ("a", "b"):
        save(tmp_path / f"images/{name}.png")
    for split, content in (("train", rows), ("test", rows + pair)):
        write(tmp_path / f"{split}.json", content)
    assert read("rs_gpt4v", tmp_path, "test").official["test"]["questions"] == 258419
    own = read("llava", tmp_path, "test")
    assert [(s.task, len(s.images)) for s in own] == [("vqa", 1), ("change_vqa", 2)]
    follows_the_contract(own, "test")
    several = {"train": [{"path": "a.jsonl", "images": "images"}]}
    lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError, match="a.jsonl, line 1: no task is declared"):
        read("llava", tmp_path, "train", files=several)
    several["train"][0]["tasks"] = "vqa"
    with pytest.raises(UserError, match="a part of files has path, images and task"):
        read("llava", tmp_path, "train", files=several)
    write(tmp_path / "train.json", {"rows": []})
    with pytest.raises(UserError, match="expected a list of objects, found dict"):
        read("llava", tmp_path, "train")
    write(tmp_path / "train.json", [{"image": "a.png", "conversations": talk("What?")}])
    with pytest.raises(
        UserError, match="no answered question in split 'train'; left out: 1 questions without an answer"
    ):
        read("llava", tmp_path, "train")
    with pytest.raises(UserError, match="Known: test, train, val"):
        read("llava", tmp_path, "tset")


# --- pictures by path ---


def test_paths_stay_below_the_root(tmp_path: Path) -> None:
    inside = save(tmp_path / "root/a/b.png")
    save(tmp_path / "secret.png")
    save(tmp_path / "root2/c.png")
    root = tmp_path / "root"
    assert find_in_tree(root, ["a/b.png", "a/./b.tif", str(inside)], source="s") == dict.fromkeys(
        ["a/b.png", "a/./b.tif", str(inside)], inside
    )
    assert below(root, "a\\b.png", source="s") == inside
    for name in ("../secret.png", "a/../../secret.png", str(tmp_path / "secret.png"), "../root2/c.png", "", " ", "."):
        with pytest.raises(UserError, match="s: .* does not lie in"):
            find_in_tree(root, [name], source="s")
    with pytest.raises(UserError, match="the images folder .*nowhere does not exist"):
        find_in_tree(root, ["nowhere/b.png"], source="s")


# --- GeoTIFFs ---


def geotiff(path: Path, bands: int, dtype: str = "uint8", *, placed: bool = True) -> Path:
    """40 x 20 pixels of 10 m near Genoa; band k holds k, or 1000 k."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"width": SIZE[0], "height": SIZE[1], "count": bands, "dtype": dtype}
    options["photometric"] = "RGB" if bands == 3 else "MINISBLACK"  # else GDAL takes the fourth band for alpha
    if placed:
        options |= {"crs": "EPSG:32632", "transform": Affine(10, 0, 494000, 0, -10, 4917000)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **options) as file:
            for k in range(1, bands + 1):
                file.write(np.full(SIZE[::-1], k if dtype == "uint8" else 1000 * k, dtype), k)
    return path


def test_geotiffs_of_ones_own_keep_their_place_and_bands(tmp_path: Path) -> None:
    for name, bands, dtype in (("rgb", 3, "uint8"), ("four", 4, "uint8"), ("deep", 4, "uint16")):
        geotiff(tmp_path / f"train/{name}.tif", bands, dtype)
    geotiff(tmp_path / "train/plain.tif", 3, placed=False)
    save(tmp_path / "train/web.png")
    for path in list((tmp_path / "train").iterdir()):
        write(path.with_suffix(".txt"), "A port.")
    data = {Path(s.id).stem: s for s in read("own_folder", tmp_path, "train")}
    assert isinstance(data["rgb"].images[0], Path) and isinstance(data["web"].images[0], Path)
    assert load_image(data["four"].images[0]).shape == (20, 40, 4)
    place = data["rgb"].georeference
    assert place is not None and place == data["four"].georeference == data["deep"].georeference
    assert place.crs == "EPSG:32632" and place.bounds == (494000, 4916800, 494400, 4917000)
    assert place.gsd_m == pytest.approx(10, rel=1e-3)
    assert data["plain"].georeference is None and data["web"].georeference is None
    with pytest.raises(UserError, match="deep.tif stores uint16; say how it becomes 8 bits: stretch="):
        load_image(data["deep"].images[0])
    options = {"bands": [3, 2, 1], "stretch": "12bit"}
    chosen = {Path(s.id).stem: s for s in read("own_folder", tmp_path, "train", raster=options)}
    picture = load_image(chosen["deep"].images[0])
    assert picture.shape == (20, 40, 3) and picture[0, 0].tolist() == [187, 125, 62]  # 3000, 2000, 1000 of 4095
    with pytest.raises(UserError, match="unknown option of rasters 'strech'. Did you mean 'stretch'"):
        read("own_folder", tmp_path, "train", raster={"strech": "12bit"})


def test_tables_of_geotiffs(tmp_path: Path) -> None:
    geotiff(tmp_path / "a.tif", 4)
    save(tmp_path / "m.png", 255, "L")
    row = {"image": "a.tif", "instruction": "Mark it.", "task": "mask", "mask": "m.png"}
    lines(tmp_path / "train.jsonl", [row])
    sample = read("own_jsonl", tmp_path, "train")[0]
    assert sample.georeference is not None and load_image(sample.images[0]).shape == (20, 40, 4)
    assert sample.mask is not None and read_array(sample.mask).all()
    (tmp_path / "a.tif").write_bytes(b"no picture")
    with pytest.raises(UserError, match="a.tif"):
        read("own_jsonl", tmp_path, "train")[0]


@pytest.mark.real_data
def test_real_geotiffs_that_pillow_cannot_open(tmp_path: Path) -> None:
    source = Path(os.environ["RSMOE_DATA"]) / "geotiff/landsat_pucallpa"
    pictures = sorted(path for path in source.rglob("*.tif*") if path.suffix in (".tif", ".tiff"))
    assert len(pictures) >= 2
    (tmp_path / "train").symlink_to(source, target_is_directory=True)
    rows = {"images": [f"train/{p.relative_to(source)}" for p in pictures[:2]], "instruction": "What changed?"}
    lines(tmp_path / "train.jsonl", [rows | {"answer": "The city grew.", "task": "change_caption"}])
    sample = read("own_jsonl", tmp_path, "train", raster={"bands": [3, 4]})[0]
    assert sample.georeference is not None and 88 < sample.georeference.gsd_m < 91  # 0.00081 degrees
    shapes = {load_image(image).shape for image in sample.images}
    assert len(shapes) == 1 and shapes.pop()[2] == 2


# --- one's own ---


def example(suffix: str) -> str:
    """The table that the docstring of `OwnTable` shows."""
    blocks = [b for b in inspect.getdoc(OwnTable).split("::\n\n")[1:]]  # type: ignore[union-attr]
    block = blocks[0 if suffix == "jsonl" else 1]
    kept = [line for line in block.split("\n\n")[0].splitlines() if line.startswith("    ")]
    return textwrap.dedent("\n".join(kept)) + "\n"


def own(root: Path, suffix: str = "jsonl", content: Any = None, **options: Any) -> OwnTable:
    for name in ("a", "b"):
        save(root / f"{name}.png")
    save(root / "water.png", 255, "L")
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    write(root / f"train.{suffix}", example(suffix) if content is None else content)
    return read("own_jsonl" if suffix == "jsonl" else "own_csv", root, "train", **options)


def test_the_jsonl_of_the_docstring_is_read(tmp_path: Path) -> None:
    data = own(tmp_path)
    follows_the_contract(data, "train")
    assert [(s.task, s.responses) for s in data] == [
        ("vqa", ("two",)),
        ("caption", ("Two ships.", "A port.")),
        ("change_caption", ("A pier.",)),
        ("mask", ("[SEG]",)),
        ("ground", ("[2, 1, 9, 6]",)),
    ]
    assert [path.name for path in data[2].images] == ["a.png", "b.png"]
    mask = data[3].mask
    assert mask is not None and read_array(mask).shape == (20, 40) and read_array(mask).all()
    assert data[4].boxes_px is not None and data[4].boxes_px.tolist() == [[2, 1, 9, 6]] and data[4].obb_px is None
    assert data.counts == {"images": 2, "samples": 5, **dict.fromkeys([s.task for s in data], 1)}
    assert data[0].id == "train.jsonl, line 1"


def test_the_csv_of_the_docstring_is_read(tmp_path: Path) -> None:
    data = own(tmp_path, "csv")
    follows_the_contract(data, "train")
    assert [(s.task, s.responses) for s in data] == [
        ("caption", ("Two ships.", "A port.")),
        ("ground", ("[2, 1, 9, 6]",)),
    ]
    assert all(s.meta == {"place": "Genoa"} for s in data)
    assert data[1].boxes_px is not None and data[1].boxes_px.tolist() == [[2, 1, 9, 6]] and data[0].boxes_px is None


def test_a_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, quotes, a line break in a cell."""
    rows = [
        ["images", "instruction", "answer", "task", "gsd_m"],
        ["a.png|b.png", 'What "changed"?', "A\nroad", "change_vqa", "0.5"],
    ]
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png")
    with (tmp_path / "train.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, dialect="excel").writerows(rows)
    sample = read("own_csv", tmp_path, "train")[0]
    assert sample.instruction == 'What "changed"?' and sample.responses == ("A\nroad",) and len(sample.images) == 2
    assert sample.meta == {"gsd_m": "0.5"}


def test_own_columns(tmp_path: Path) -> None:
    base = {"image": "a.png", "instruction": "Find.", "answer": "here", "task": "ground"}
    write(tmp_path / "boxes/a.json", [[1, 2, 3, 4], [2, 2, 9, 9]])
    data = own(
        tmp_path,
        content=[
            base | {"boxes": [[20, 10, 8, 4, 30]], "labels": ["ship"], "kind": "small", "id": "one", "gsd_m": 0.3},
            base | {"boxes": "boxes/a.json", "labels": ["ship", "quay"]},
            base | {"answer": 7, "task": None},
            {"image": "b.png", "responses": ["A field north of a road."], "task": "caption"},
        ],
        task="vqa",
        instruction="Describe it.",
    )
    assert (
        data[0].id == "one"
        and data[0].labels == ("ship",)
        and data[0].kind == "small"
        and data[0].meta == {"gsd_m": 0.3}
    )
    assert data[0].obb_px is not None and data[0].obb_px.tolist() == [[20, 10, 8, 4, 30]] and data[0].boxes_px is None
    assert data[1].boxes_px is not None and data[1].boxes_px.shape == (2, 4) and data[1].boxes_px.dtype == np.float32
    assert data[2].task == "vqa" and data[2].responses == ("7",)
    assert data[3].instruction == "Describe it." and data[3].directional


def test_answers_of_boxes_are_written_under_a_declared_convention(tmp_path: Path) -> None:
    rows = [
        {"image": "a.png", "instruction": "Find.", "task": "ground", "boxes": [[20, 10, 30, 15], [0, 0, 4, 2]]},
        {"image": "a.png", "instruction": "Find.", "task": "ground", "boxes": [[20, 10, 8, 4, 90]]},
        {"image": "a.png", "instruction": "Find.", "task": "ground", "answer": "none"},
    ]
    data = own(tmp_path, content=rows, box_convention="minigpt")
    assert data[0].responses == ("{<50><50><75><75>}<delim>{<0><0><10><10>}",)
    assert data[1].responses == ("{<45><30><55><70>}",) and data[1].obb_px is not None  # 18..22 x 6..14 px
    assert data[2].responses == ("none",) and data[2].boxes_px is None
    assert all(s.directional and s.meta == {"box_convention": "minigpt", "size_px": SIZE} for s in data)
    with pytest.raises(UserError, match="expected 'answer' or 'responses'"):
        own(tmp_path, content=rows)
    with pytest.raises(UserError, match="expected 'answer' or 'responses'"):
        own(tmp_path, content=[{"image": "a.png", "instruction": "Find.", "task": "ground"}], box_convention="minigpt")
    with pytest.raises(UserError, match="unknown box convention 'minigtp'. Did you mean 'minigpt'"):
        own(tmp_path, content=rows, box_convention="minigtp")


def test_own_table_with_a_split_column(tmp_path: Path) -> None:
    row = {"image": "a.png", "instruction": "What?", "answer": "x", "task": "vqa"}
    save(tmp_path / "a.png")
    lines(tmp_path / "all.jsonl", [row | {"split": split} for split in ("train", "train", "val")])
    assert len(read("own_jsonl", tmp_path, "train", table="all.jsonl")) == 2
    assert read("own_jsonl", tmp_path, "val", table="all.jsonl")[0].meta == {}
    with pytest.raises(UserError, match="unknown split of own_jsonl 'test'.*Known: train, val"):
        read("own_jsonl", tmp_path, "test", table="all.jsonl")
    lines(tmp_path / "all.jsonl", [row])
    with pytest.raises(UserError, match="all.jsonl, line 1: no 'split'"):
        read("own_jsonl", tmp_path, "train", table="all.jsonl")


GOOD = {"image": "a.png", "instruction": "What?", "answer": "x", "task": "vqa"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "vqaa"}, "line 1: unknown task 'vqaa'. Did you mean 'vqa'"),
        ({"task": None}, "line 1: no 'task'; found 'image'"),
        ({"instruction": " "}, "line 1: no 'instruction'"),
        ({"answer": None}, "expected 'answer' or 'responses', one of them"),
        ({"responses": ["y"]}, "expected 'answer' or 'responses', one of them"),
        ({"answer": ""}, "'answer' should hold texts"),
        ({"answer": True}, "'answer' should hold texts, found 'True'"),
        ({"answer": None, "responses": []}, "'responses' should hold texts"),
        ({"image": None}, "expected 'image' or 'images'"),
        ({"image": "none.png"}, "1 of 1 annotated names have no image"),
        ({"image": "../a.png"}, "does not lie in"),
        ({"task": "change_caption"}, "'change_caption' needs two or more images"),
        ({"image": None, "images": ["a.png", "b.png"]}, "2 images; call the task 'change_vqa'"),
        ({"task": "mask"}, "line 1: no 'mask'"),
        ({"task": "mask", "mask": "water.png"}, r"has to hold \[SEG\]"),
        ({"mask": "../water.png"}, "does not lie in"),
        ({"mask": "none.png"}, "none.png does not exist"),
        ({"boxes": [[1, 2, 3]]}, r"expected boxes as \[\[x1, y1"),
        ({"boxes": [[1, 2, 3, "4"]]}, "expected boxes as"),
        ({"boxes": [[1, 2, 3, 4], [1, 2, 3, 4, 5]]}, "expected boxes as"),
        ({"boxes": [1, 2, 3, 4]}, "expected boxes as"),
        ({"boxes": []}, "expected boxes as"),
        ({"boxes": [[9, 9, 4, 4]]}, r"a box has no area: \[9, 9, 4, 4\]; is it x y width height"),
        ({"boxes": "[[1, 2"}, "are not json"),
        ({"boxes": "none.json"}, "none.json does not exist"),
        ({"labels": ["ship"]}, "1 labels for 0 boxes"),
    ],
)
def test_own_table_refuses(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        own(tmp_path, content=[GOOD | change])


def test_own_tables_that_are_none(tmp_path: Path) -> None:
    for content, fault in (
        ("", "holds no row"),
        ("[1, 2]\n", "line 1: expected an object, found list"),
        (json.dumps(GOOD) + "\n{'image': 1}\n", "line 2, is not json"),
        (json.dumps(GOOD | {"id": "x"}) + "\n" + json.dumps(GOOD | {"id": "x"}), "1 ids occur more than once: x"),
    ):
        with pytest.raises(UserError, match=fault):
            own(tmp_path, content=content)
    for content, fault in (
        ("image,instruction,answer,task\na.png,What, is it?,x,vqa\n", "line 2: expected 4 cells: quote texts"),
        ("image,instruction,answer,task\na.png,What?\n", "line 2: expected 4 cells"),
        ('image,instruction\n"a.png,What', "is not a CSV"),
    ):
        with pytest.raises(UserError, match=fault):
            own(tmp_path, "csv", content)
    (tmp_path / "train.csv").write_bytes(b"image,instruction\n\xff\xfe,x\n")
    with pytest.raises(UserError, match="is not a CSV in UTF-8"):
        read("own_csv", tmp_path, "train")
    write(tmp_path / "train.tsv", "x")
    with pytest.raises(UserError, match="should end in .jsonl or .csv"):
        read("own_csv", tmp_path, "train", table="{split}.tsv")
    with pytest.raises(UserError, match="val.jsonl does not exist"):
        read("own_jsonl", tmp_path, "val")


def test_own_folder_pairs_pictures_and_texts(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    for name in ("port.png", "ice/a1.jpg", "ice/a.2.tif", "alone.png", "void.png", "port.jpg", ".hidden.png"):
        save(folder / name)
    write(folder / "port.txt", "A port .\n\nShips on the left .\n")
    write(folder / "ice/a1.txt", "\ufeffIce .")
    write(folder / "ice/a.2.txt", "Älterer Schnee .")
    write(folder / "void.txt", " \n")
    write(folder / "readme.txt", "About.")
    data = read("own_folder", tmp_path, "train")
    follows_the_contract(data, "train")
    assert [(s.id, s.responses, s.meta) for s in data] == [
        ("ice/a.2.tif", ("Älterer Schnee .",), {"folder": "ice"}),
        ("ice/a1.jpg", ("Ice .",), {"folder": "ice"}),
        ("port.png", ("A port .", "Ships on the left ."), {}),
    ]
    assert [s.directional for s in data] == [False, False, True]
    assert data.counts == {"images": 3, "captions": 4}
    assert data.unused == {
        "pictures whose stem another one has": ["port.jpg"],
        "pictures without a text": ["alone.png"],
        "texts without a caption": ["void.png"],
        "texts without a picture": ["readme.txt"],
    }
    assert len(read("own_folder", folder, "val", images=".", holds="val")) == 3


def test_own_folder_refuses(tmp_path: Path) -> None:
    save(tmp_path / "train/a.png")
    with pytest.raises(UserError, match="holds 1 pictures and 0 texts, and no picture with a caption"):
        read("own_folder", tmp_path, "train")
    with pytest.raises(UserError, match="unknown split of own_folder 'test'.*Known: train"):
        read("own_folder", tmp_path, "test")
    (tmp_path / "train/a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"a.txt is not UTF-8"):
        read("own_folder", tmp_path, "train")
    write(tmp_path / "train/a.txt", "A port.")
    (tmp_path / "train/a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"a.png is empty"):
        read("own_folder", tmp_path, "train")
    with pytest.raises(UserError, match="own_folder is empty: its annotations name no image"):
        read("own_folder", (tmp_path / "train"), "train")

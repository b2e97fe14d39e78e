"""Readers of questions with choices and of RSWK: releases written here as they are, and broken ones."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.readers import reader, same, write
from support.readers import save as picture
from support.release_questions import geobench, lhrs, message, rswk

from rsmoe.data.readers.choices import fill, lettered
from rsmoe.errors import UserError

SIZE = (40, 20)
save = partial(picture, size=SIZE)

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


def test_lhrs_bench_keeps_choices_and_letter(tmp_path: Path) -> None:
    data = reader("lhrs_bench", lhrs(tmp_path), "test")
    same(data)
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
        reader("lhrs_bench", lhrs(tmp_path, **change), "test")


def test_lhrs_bench_is_a_test_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Known: test"):
        reader("lhrs_bench", lhrs(tmp_path), "train")
    with pytest.raises(UserError, match="should hold {question}"):
        reader("lhrs_bench", tmp_path, "test", request="Answer!")
    write(tmp_path / "qa.json", {"data": [], "qtype": {}})
    with pytest.raises(UserError, match="holds no question"):
        reader("lhrs_bench", tmp_path, "test")


def test_geobench_asks_every_paraphrase(tmp_path: Path) -> None:
    data = reader("geobench_vlm", geobench(tmp_path), "test")
    same(data)
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
    assert len(reader("geobench_vlm", tmp_path, "test", paraphrases=1)) == 2
    assert [s.kind for s in reader("geobench_vlm", tmp_path, "test", parts=["Temporal"])] == ["Crop Type"]


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
        reader("geobench_vlm", geobench(tmp_path / "release", **change), "test")


def test_geobench_names_its_parts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown part of geobench_vlm 'Singel'. Did you mean 'Single'"):
        reader("geobench_vlm", geobench(tmp_path), "test", parts=["Singel"])
    with pytest.raises(UserError, match="no question in no part"):
        reader("geobench_vlm", tmp_path, "test", parts=[])
    write(tmp_path / "Single/qa.json", {"questions": []})
    with pytest.raises(UserError, match="expected a list of questions, found dict"):
        reader("geobench_vlm", tmp_path, "test")


# --- RSWK ---


@pytest.mark.parametrize("old", [False, True])
def test_rswk_joins_answers_and_knowledge(tmp_path: Path, old: bool) -> None:
    data = reader("rswk", rswk(tmp_path, old=old), "test")
    same(data)
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
    few = reader("rswk", tmp_path, "test", kinds=["vqa_wk"], knowledge=None)
    assert [s.kind for s in few] == ["vqa_wk"] and few[0].meta == {}


def test_rswk_refuses(tmp_path: Path) -> None:
    rswk(tmp_path)
    with pytest.raises(UserError, match="unknown kind of rswk 'captoin'. Did you mean 'caption'"):
        reader("rswk", tmp_path, "test", kinds=["captoin"])
    with pytest.raises(UserError, match="Known: mini_test, test, train"):
        reader("rswk", tmp_path, "val")
    (tmp_path / "ORI_DATASET/ori_data_test.json").unlink()
    with pytest.raises(UserError, match="ori_data_test.json does not exist"):
        reader("rswk", tmp_path, "test")
    path = tmp_path / "DATASET_FULL/image_captioning/image_captioning_full_test_2993.jsonl"
    for content, fault in (
        ('{"messages": [', "line 1, is not json"),
        ("[1]\n", "line 1: expected an object, found list"),
        (json.dumps({"text": "x"}), "line 1: no key 'ID'; found 'text'"),
        (json.dumps(message("q", "a", "000474.png") | {"images": []}), "expected one image"),
    ):
        write(path, content)
        with pytest.raises(UserError, match=fault):
            reader("rswk", tmp_path, "test")

"""Tiny releases of questions, written as the formats say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.readers import lines, save, write

LINES = """1.tif:What is the theme of this picture?farmland
0.tif:Does this picture contain trees?Yes
1.tif:How many  in the picture?two
1.tif:What is the location of the cars in this picture?up, center and bottom 
2.tif:what colour?red
"""  # noqa: W291


def rsivqa(root: Path, lines: str = LINES, *, file: str = "rsivqa/UCM/q.txt") -> Path:
    """Triplets on the images of `release_captions.karpathy`."""
    write(root / file, lines)
    return root


def rsieval(root: Path) -> Path:
    pairs = [
        {"question": "How many planes are there?", "answer": "There are seven planes.", "type": "quantity"},
        {"question": "", "answer": "yes", "type": "presence"},
        {"question": "Where is the ship?", "answer": "in the middle", "type": "ab_position"},
        {"question": "Is it large?", "answer": "", "type": "reasoning"},
    ]
    write(root / "annotations.json", {"annotations": [{"filename": "a.png", "caption": "A port.", "qa_pairs": pairs}]})
    save(root / "images/a.png")
    return root


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
        save(root / images / f"{i}.tif", i % 256, size=(40, 20))
    return root


def lhrs(root: Path, **change: Any) -> Path:
    pair = {"question": "What is it?", "choices": "A. A harbour B. A road", "answer": "A.", "type": ["1", "7"]} | change
    second = {"question": "Where is the ship?", "choices": "A. left B. right", "answer": "B", "type": ["7"]}
    types = {"1 identity": ["x"], "7 location": ["y"]}
    write(root / "qa.json", {"data": [{"filename": "a.png", "qa_pairs": [pair, second]}], "qtype": types})
    save(root / "images/a.png", size=(40, 20))
    return root


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
        save(root / path, size=(40, 20))
    return root


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

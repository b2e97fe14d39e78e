"""RSICap and RSIEval: splits that are disjoint and stable, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.readers import config, write
from support.release_captions import rsicap
from support.release_questions import rsieval

from rsmoe.data.readers.rsicap import RSICap
from rsmoe.data.readers.rsieval import RSIEval
from rsmoe.errors import UserError
from rsmoe.parts import instantiate


def test_rsicap_splits_are_disjoint_complete_and_stable(tmp_path: Path) -> None:
    names = [f"S{i:04d}.png" for i in range(40)]
    root = str(rsicap(tmp_path, names))
    train, val = RSICap(root=root, split="train"), RSICap(root=root, split="val")
    assert len(val) == 2 and len(train) == 38
    files = {s.images[0].name for s in train} | {s.images[0].name for s in val}
    assert files == set(names)
    rsicap(tmp_path, names[::-1])  # the order of the rows changes nothing
    assert {s.images[0] for s in RSICap(root=root, split="val")} == {s.images[0] for s in val}
    assert train[0].meta == {"image_id": train[0].meta["image_id"]} and train[0].task == "caption"
    assert len(RSICap(root=root, split="train", val_fraction=0.0)) == 40


def test_rsicap_keeps_crops_of_one_picture_together(tmp_path: Path) -> None:
    root = rsicap(tmp_path, [f"P{i // 4:04d}_{i:04d}.png" for i in range(48)])
    train, val = (RSICap(root=str(root), split=s, val_fraction=0.2) for s in ("train", "val"))
    pictures = [{s.images[0].name[:5] for s in data} for data in (train, val)]
    assert not pictures[0] & pictures[1] and 10 <= len(val) <= 16


def test_rsicap_takes_lists_of_texts_and_further_keys(tmp_path: Path) -> None:
    root = rsicap(tmp_path, ["a.png", "b.png"], text_output=["One.", "Left two."], gsd_m=0.5)
    sample = RSICap(root=str(root), split="train", val_fraction=0.0, protocol="generated/")[1]
    assert sample.responses == ("One.", "Left two.") and sample.directional
    assert sample.meta == {"image_id": "1", "gsd_m": 0.5}


def test_rsicap_refuses(tmp_path: Path) -> None:
    root = str(rsicap(tmp_path, ["a.png", "b.png"]))
    with pytest.raises(UserError, match="Known: train, val"):
        RSICap(root=root, split="test")
    with pytest.raises(UserError, match="val_fraction=1"):
        RSICap(root=root, split="train", val_fraction=1.0)
    write(tmp_path / "captions.json", {"annotations": [{"filename": "a.png", "caption": "x"}, {"filename": "b.png"}]})
    with pytest.raises(UserError, match=r"no key 'text_input'; found 'filename'"):
        RSICap(root=root, split="train", val_fraction=0.0)
    rsicap(tmp_path, ["a.png"], text_output=" ")
    with pytest.raises(UserError, match="is empty"):
        RSICap(root=root, split="train", val_fraction=0.0)


def test_rsieval_gives_captions_and_questions(tmp_path: Path) -> None:
    data = RSIEval(root=str(rsieval(tmp_path)))
    assert data.counts == {"images": 1, "captions": 1, "questions": 2, "empty_questions": 1, "empty_answers": 1}
    assert [(s.task, s.kind, s.directional) for s in data] == [
        ("caption", "", False),
        ("vqa", "quantity", False),
        ("vqa", "ab_position", True),
    ]
    assert data[1].responses == ("There are seven planes.",)
    assert len({s.id for s in data}) == 3
    assert [s.task for s in RSIEval(root=str(tmp_path), tasks=("vqa",))] == ["vqa", "vqa"]


def test_rsieval_is_the_split_that_it_says(tmp_path: Path) -> None:
    rsieval(tmp_path)
    data = RSIEval(root=str(tmp_path), split="train", holds="train", protocol="generated/")
    assert data.split == "train" and data.protocol == "generated/"
    with pytest.raises(UserError, match=r"'train'.*Known: test"):
        RSIEval(root=str(tmp_path), split="train")
    with pytest.raises(UserError, match="unknown task of rsieval 'mask'"):
        RSIEval(root=str(tmp_path), tasks=("mask",))
    with pytest.raises(UserError, match="holds nothing"):
        RSIEval(root=str(tmp_path), tasks=())
    write(tmp_path / "annotations.json", {"annotations": [{"filename": "a.png", "caption": "x"}]})
    with pytest.raises(UserError, match=r"annotations\[0\]: no key 'qa_pairs'; found 'filename', 'caption'"):
        RSIEval(root=str(tmp_path))


@pytest.mark.parametrize("name", ["rsicap", "rsieval"])
def test_rsgpt_yamls(tmp_path: Path, name: str) -> None:
    rsicap(tmp_path, [f"{i}.png" for i in range(5)])
    rsieval(tmp_path)
    split = "train" if name == "rsicap" else "test"
    assert instantiate({**config(name), "root": str(tmp_path)}, split=split)[0].source == name

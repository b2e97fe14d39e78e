"""Readers: official counts on real files, tiny written releases for the rest, and every kind of broken release."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.readers import config, save, write
from support.release_captions import karpathy
from support.release_questions import LINES
from support.release_questions import rsivqa as write_rsivqa

from rsmoe.data.rasters.images import load_image
from rsmoe.data.readers.annotations import data_root, is_directional, read_json
from rsmoe.data.readers.karpathy import KarpathyCaptions
from rsmoe.data.readers.rsivqa import RSIVQA, question_kind
from rsmoe.errors import UserError
from rsmoe.parts import instantiate


def toy(root: Path, split: str = "train", **more: Any) -> KarpathyCaptions:
    return KarpathyCaptions(root=str(root), split=split, name="toy", annotations="dataset.json", **more)


# --- Karpathy ---


def test_karpathy_matches_by_stem_and_keeps_raw_sentences(tmp_path: Path) -> None:
    data = toy(karpathy(tmp_path))
    assert [s.id for s in data] == ["0.tif", "1.tif"] and data.protocol == ""
    assert data[1].images == (tmp_path / "images/1.jpg",)
    assert data[1].responses == ("Image 1 is a field .", "a road in the north of 1 .")
    assert data.counts == {"images": 2, "captions": 3, "empty_captions": 1}
    assert [s.directional for s in data] == [False, True]


def test_karpathy_takes_the_exact_name_before_another_extension(tmp_path: Path) -> None:
    karpathy(tmp_path)
    save(tmp_path / "images/1.tif")
    save(tmp_path / "images/0.PNG")
    assert [s.images[0].name for s in toy(tmp_path)] == ["0.PNG", "1.tif"]


@pytest.mark.parametrize("name", ["classes.json", "classes.csv"])
def test_karpathy_scene_classes(tmp_path: Path, name: str) -> None:
    karpathy(tmp_path)
    table = {"0.jpg": "farmland", "1.jpg": "river"} if name.endswith("json") else "filename,class\n0.tif,farmland\n"
    write(tmp_path / name, table)
    assert toy(tmp_path, classes=name)[0].meta == {"scene_class": "farmland"}
    assert toy(tmp_path, classes="absent.json")[0].meta == {}


def test_karpathy_refuses_an_unknown_split_and_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown split of toy 'val'.*Known: test, train"):
        toy(karpathy(tmp_path), "val")


def test_karpathy_counts_missing_images_and_names_five(tmp_path: Path) -> None:
    karpathy(tmp_path, splits=("train",) * 9)
    for i in range(1, 8):
        (tmp_path / f"images/{i}.jpg").unlink()
    with pytest.raises(UserError, match=r"7 of 9 .* 1\.tif, 2\.tif, 3\.tif, 4\.tif, 5\.tif \.\.\."):
        toy(tmp_path)


def test_karpathy_refuses_empty_files_at_once(tmp_path: Path) -> None:
    karpathy(tmp_path)
    (tmp_path / "images/1.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 of 2 .* empty files .*1\.tif"):
        toy(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": []}, r"dataset\.json: no key 'images'; found 'annotations'"),
        ([1], "expected an object with the key 'images', found list"),
        ({"images": []}, "is empty"),
        ({"images": [{"filename": "0.tif"}]}, r"images\[0\]: no key 'split'; found 'filename'"),
        ({"images": [{"filename": "0.tif", "split": "train", "sentences": [{"tokens": []}]}]}, "no key 'raw'"),
        ({"images": [{"filename": "0.tif", "split": "train", "sentences": [{"raw": ""}]}]}, "no sentence"),
        ({"images": [{"filename": 7.5, "split": "train"}]}, "'filename': expected an id, a text or a whole number"),
        ('{"images": [', "is not json .*line 1"),
        ("", "is not json .*0 bytes"),
    ],
)
def test_karpathy_refuses_other_formats(tmp_path: Path, content: Any, message: str) -> None:
    karpathy(tmp_path)
    write(tmp_path / "dataset.json", content)
    with pytest.raises(UserError, match=message):
        toy(tmp_path)


@pytest.mark.parametrize("name", ["sydney_captions"])
def test_karpathy_yaml_without_real_files(tmp_path: Path, name: str) -> None:
    karpathy(tmp_path).joinpath("dataset.json").rename(tmp_path / "dataset_sydney.json")
    data = instantiate({**config(name), "root": str(tmp_path)}, split="test")
    assert len(data) == 1 and data[0].source == name


# --- roots ---


def test_root_defaults_to_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy").mkdir()
    monkeypatch.setenv("RSMOE_DATA", str(tmp_path))
    assert data_root(None, "toy") == data_root(tmp_path, "toy") == data_root(tmp_path / "toy", "toy")
    with pytest.raises(UserError, match=r"holds no folder 'other'.*data\.root="):
        data_root(None, "other")
    with pytest.raises(UserError, match="is not a folder"):
        data_root(tmp_path / "nowhere", "toy")
    monkeypatch.delenv("RSMOE_DATA")
    with pytest.raises(UserError, match=r"data\.root=/path/to/toy.*export RSMOE_DATA"):
        data_root(None, "toy")


def test_missing_annotations_list_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "other.json", {})
    with pytest.raises(UserError, match=r"dataset\.json does not exist.*other\.json"):
        read_json(tmp_path / "dataset.json")
    with pytest.raises(UserError, match="neither does the folder"):
        read_json(tmp_path / "deep/dataset.json")


# --- RSIVQA ---


def rsivqa(tmp_path: Path, lines: str = LINES, split: str = "train", **more: Any) -> RSIVQA:
    karpathy(tmp_path / "toy")
    write_rsivqa(tmp_path, lines)
    return RSIVQA(
        root=str(tmp_path), split=split, name="q", files=["UCM/q.txt"], images_name="toy", splits="dataset.json", **more
    )


def test_rsivqa_splits_by_image_and_tells_kinds(tmp_path: Path) -> None:
    data = rsivqa(tmp_path)
    assert [(s.id, s.kind, s.responses[0]) for s in data] == [
        ("q:1", "theme", "farmland"),
        ("q:2", "presence", "Yes"),
        ("q:3", "count", "two"),
        ("q:4", "location", "up, center and bottom"),
    ]
    assert [s.directional for s in data] == [False, False, False, True]
    assert data[2].meta == {"noun_missing": True} and data[2].instruction == "How many in the picture?"
    assert data[0].images[0] == tmp_path / "toy/images/1.jpg"
    assert [s.kind for s in rsivqa(tmp_path, split="test")] == ["other"]
    assert len(rsivqa(tmp_path, kinds=["count"])) == 1
    with pytest.raises(UserError, match="no question of kind size"):
        rsivqa(tmp_path, kinds=["size"])


def test_rsivqa_refuses_broken_lines_and_stray_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 lines are not .*line 2 'no colon'; line 3 .*line 4"):
        rsivqa(tmp_path, "1.tif:what?x\nno colon\n1.tif:what is it\n1.tif:empty answer? \n")
    with pytest.raises(UserError, match="1 images are not in .*9.tif"):
        rsivqa(tmp_path, "9.tif:what?x\n1.tif:what?x\n")
    with pytest.raises(UserError, match="no question"):
        rsivqa(tmp_path, "\n")
    with pytest.raises(UserError, match="Known: test, train"):
        rsivqa(tmp_path, split="val")


def test_question_kinds_and_directions() -> None:
    assert question_kind("Are there harbors in the image?") == "presence"
    assert question_kind("Where is the ship?") == "location"
    for text in ("on the LEFT", "north-south road", "in the northwest", "southern bank", "the upper part"):
        assert is_directional(text), text
    for text in ("cars line up neatly", "bright leaf", "northrop planes", "easter island", "a stop sign"):
        assert not is_directional(text), text
    assert is_directional("the tank above the road") and not is_directional("Based on the above analysis, describe it.")


# --- real releases ---


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "split", "images", "captions"),
    [
        ("ucm_captions", "train", 1680, 8400),
        ("ucm_captions", "val", 210, 1050),
        ("ucm_captions", "test", 210, 1050),
        ("rsicd", "train", 8734, 43670),
        ("rsicd", "val", 1094, 5470),
    ],
)
def test_official_counts_of_captions(name: str, split: str, images: int, captions: int) -> None:
    data = instantiate(config(name), split=split)
    assert data.counts == {"images": images, "captions": captions, "empty_captions": 0}
    assert len(data) == images == len({s.id for s in data})
    assert all(s.meta["scene_class"] for s in data)
    assert load_image(data[0].images[0]).shape[2] == 3


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "split", "kinds"),
    [
        ("rsivqa_ucm", "train", {"theme": 2139, "presence": 918, "count": 459, "location": 459}),
        ("rsivqa_ucm", "val", {"theme": 259, "presence": 98, "count": 49, "location": 49}),
        ("rsivqa_ucm", "test", {"theme": 261, "presence": 102, "count": 51, "location": 51}),
        ("rsivqa_rsicd", "train", {"theme": 8734}),
        ("rsivqa_rsicd", "val", {"theme": 1094}),
    ],
)
def test_official_counts_of_questions(name: str, split: str, kinds: dict[str, int]) -> None:
    data = instantiate(config(name), split=split)
    assert data.counts == kinds == dict(Counter(s.kind for s in data))
    assert len({s.id for s in data}) == len(data) == sum(kinds.values())


@pytest.mark.real_data
def test_questions_and_captions_of_an_image_share_their_split() -> None:
    captions, questions = (
        {s.images[0] for s in instantiate(config(n), split="test")} for n in ("ucm_captions", "rsivqa_ucm")
    )
    assert questions == captions
    noun_missing = sum(
        "noun_missing" in s.meta
        for split in ("train", "val", "test")
        for s in instantiate(config("rsivqa_ucm"), split=split)
    )
    assert noun_missing == 294


@pytest.mark.real_data
def test_a_copy_of_rsicd_without_test_images_says_so() -> None:
    options = config("rsicd")
    options.pop("_target_")
    with pytest.raises(UserError, match=r"unknown split of rsicd 'test'.*Known: train, val"):
        KarpathyCaptions(split="test", **options)

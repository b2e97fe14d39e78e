"""Readers: official counts on real files, tiny written releases for the rest, and every kind of broken release."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from readers import config, save, write

from rsmoe.config import instantiate
from rsmoe.data.annotations import data_root, is_directional, read_json
from rsmoe.data.images import find_images, load_image, picture_size
from rsmoe.data.karpathy import KarpathyCaptions
from rsmoe.data.mask_sources import FileMask
from rsmoe.data.rsicap import RSICap
from rsmoe.data.rsieval import RSIEval
from rsmoe.data.rsivqa import RSIVQA, question_kind
from rsmoe.errors import UserError


def karpathy(root: Path, splits: tuple[str, ...] = ("train", "train", "test"), suffix: str = "jpg") -> Path:
    rows = []
    for i, split in enumerate(splits):
        sentences = [{"raw": f"Image {i} is a field ."}, {"raw": f"a road in the north of {i} ."}, {"raw": " "}]
        rows.append({"filename": f"{i}.tif", "split": split, "sentences": sentences[: 3 if i else 1]})
        save(root / f"images/{i}.{suffix}", value=i)
    write(root / "dataset.json", {"images": rows, "dataset": "toy"})
    return root


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
        ({"images": [{"filename": 7, "split": "train"}]}, "'filename' should be str, found int"),
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


# --- RSICap and RSIEval ---


def rsicap(root: Path, names: list[str], **more: Any) -> Path:
    rows = [
        {"image_id": str(i), "filename": n, "text_input": "Describe.", "text_output": f"Scene {i}.", **more}
        for i, n in enumerate(names)
    ]
    for name in names:
        save(root / "images" / name)
    write(root / "captions.json", {"annotations": rows})
    return root


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


# --- RSIVQA ---

LINES = """1.tif:What is the theme of this picture?farmland
0.tif:Does this picture contain trees?Yes
1.tif:How many  in the picture?two
1.tif:What is the location of the cars in this picture?up, center and bottom 
2.tif:what colour?red
"""  # noqa: W291


def rsivqa(tmp_path: Path, lines: str = LINES, split: str = "train", **more: Any) -> RSIVQA:
    karpathy(tmp_path / "toy")
    write(tmp_path / "rsivqa/UCM/q.txt", lines)
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


# --- pictures ---


def test_load_image_gives_rgb(tmp_path: Path) -> None:
    assert load_image(save(tmp_path / "a.png")).shape == (8, 12, 3)
    grey = load_image(save(tmp_path / "g.png", 7, "L"))
    assert grey.shape == (8, 12, 3) and (grey == 7).all()
    assert load_image(save(tmp_path / "t.png", 9, "RGBA")).shape == (8, 12, 3)
    bands = np.zeros((4, 5, 6), np.uint8)
    assert load_image(bands) is bands


def test_load_image_turns_by_exif(tmp_path: Path) -> None:
    image = Image.new("RGB", (12, 8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").shape == (12, 8, 3) and picture_size(tmp_path / "a.jpg") == (8, 12)
    assert picture_size(np.zeros((5, 7, 3), np.uint8)) == (7, 5)
    assert picture_size(FileMask(save(tmp_path / "m.png", 0, "L"))) == (12, 8)
    for content, message in ((b"", "is empty"), (b"<html>", "is not a picture"), (None, "no image file")):
        broken = tmp_path / "b.jpg"
        broken.unlink(missing_ok=True) if content is None else broken.write_bytes(content)
        with pytest.raises(UserError, match=message):
            picture_size(broken)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_load_image_names_a_truncated_file(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"cut\.{suffix} is (truncated|not a picture)"):
        load_image(path)


def test_load_image_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no image file"):
        load_image(tmp_path / "none.png")
    (tmp_path / "zero.png").touch()
    with pytest.raises(UserError, match=r"zero\.png is empty \(0 bytes\)"):
        load_image(tmp_path / "zero.png")
    with pytest.raises(UserError, match="not a picture"):
        load_image(write(tmp_path / "page.png", "<html>404</html>"))
    with pytest.raises(UserError, match="mode 'I;16'"):
        load_image(save(tmp_path / "deep.png", 900, "I;16"))
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(UserError, match=r"\(H, W, C\) uint8"):
            load_image(wrong)
    path = save(tmp_path / "large.png", size=(40, 40))
    monkeypatch.setattr("rsmoe.data.images.MAX_PIXELS", 1000)
    with pytest.raises(UserError, match=r"large\.png has more than 1,000 pixels"):
        load_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own guard speaks first
    with pytest.raises(UserError, match=r"large\.png has more than 1,000 pixels"):
        load_image(path)


def test_find_images_stays_in_its_folder(tmp_path: Path) -> None:
    save(tmp_path / "secret.png")
    inside = save(tmp_path / "images/a.b.png")
    assert find_images(tmp_path / "images", ["x/y/a.b.tif"], source="s") == {"x/y/a.b.tif": inside}
    with pytest.raises(UserError, match="1 of 1"):
        find_images(tmp_path / "images", ["../secret.png"], source="s")
    with pytest.raises(UserError, match="does not exist"):
        find_images(tmp_path / "absent", ["a"], source="s")


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

"""Readers of captioned pairs, LEVIR-CC and DUBAI-CC: tiny releases, real files, broken input."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.readers import check_pairs, reader, write
from support.release_change import NEW, dubai, edit, levir

from rsmoe.data.rasters.images import load_image
from rsmoe.errors import UserError


@pytest.mark.parametrize("flag", [True, False])
def test_levir_cc_pairs_are_changed_by_the_flag_or_by_all_sentences(tmp_path: Path, flag: bool) -> None:
    data = reader("levir_cc", levir(tmp_path, flag=flag), split="train")
    changed, same = check_pairs(data)
    assert data.counts == {"pairs": 2, "changed": 1, "unchanged": 1, "captions": 10, "empty_captions": 0}
    assert set(data.official["train"]) <= set(data.counts) and data.unused == {}
    assert (changed.id, changed.task, changed.kind) == ("train_000001.png", "change_caption", "changed")
    assert changed.responses == NEW and changed.directional and changed.meta == {"gsd_m": 0.5, "no_change_sentences": 0}
    assert [int(load_image(image)[0, 0, 0]) for image in changed.images] == [10, 100]
    assert same.kind == "unchanged" and not same.directional and same.meta["no_change_sentences"] == 5
    assert same.instruction == "Please briefly describe the changes in these two images."
    assert data[-1].id == same.id
    with pytest.raises(IndexError):
        data[2]


def test_a_partial_copy_is_read_only_when_asked_for(tmp_path: Path) -> None:
    (levir(tmp_path) / "images/train/B/train_000001.png").unlink()
    with pytest.raises(UserError, match=r"1 of 2 .*train_000001.png.*data.missing_images=skip"):
        reader("levir_cc", tmp_path, split="train")
    data = reader("levir_cc", tmp_path, split="train", missing_images="skip")
    assert [s.id for s in check_pairs(data)] == ["train_000002.png"] and data.counts["pairs"] == 1
    assert data.unused == {"not all files are there": ["train_000001.png"]}
    (tmp_path / "images/train/A/train_000002.png").unlink()
    with pytest.raises(UserError, match="no pair of 'train' has all its files.*images/train/A"):
        reader("levir_cc", tmp_path, split="train", missing_images="skip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"][0].pop("sentences"), "image 'train_000001.png': no key 'sentences'"),
        (lambda c: c["images"][0].pop("filename"), r"images\[0\]: no key 'filename'"),
        (lambda c: c["images"][0].update(changeflag=2), "'changeflag' should be 0 or 1, found 2"),
        (lambda c: c["images"][0].update(changeflag="yes"), "'changeflag' should be 0 or 1, found 'yes'"),
        (lambda c: c["images"][0].update(sentences=[{"raw": " "}]), "no sentence"),
        (lambda c: c["images"].append(c["images"][0]), "1 images are listed twice in 'train': train_000001.png"),
        (lambda c: c.pop("images"), "no key 'images'"),
    ],
)
def test_levir_cc_broken_rows(tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    edit(levir(tmp_path) / "LevirCCcaptions.json", change)
    with pytest.raises(UserError, match=message):
        reader("levir_cc", tmp_path, split="train")


def test_levir_cc_bad_options(tmp_path: Path) -> None:
    levir(tmp_path)
    for options, message in (
        ({"split": "vall"}, "unknown split of levir_cc 'vall'"),
        ({"split": "train", "missing_images": "skp"}, "unknown missing_images of levir_cc 'skp'. Did you mean 'skip'"),
        ({"split": "train", "tasks": ["mask"]}, "unknown task of levir_cc 'mask'"),
        ({"split": "train", "tasks": []}, "tasks is empty"),
        ({"split": "train", "before": "images/{split}/C"}, "images/train/C does not exist"),
    ):
        with pytest.raises(UserError, match=message):
            reader("levir_cc", tmp_path, **options)
    (tmp_path / "images/train/A/train_000001.png").write_bytes(b"")
    with pytest.raises(UserError, match="empty files"):
        reader("levir_cc", tmp_path, split="train")


def test_empty_captions_are_left_out_and_named(tmp_path: Path) -> None:
    edit(levir(tmp_path) / "LevirCCcaptions.json", lambda c: c["images"][0]["sentences"][3].update(raw="  "))
    data = reader("levir_cc", tmp_path, split="train")
    assert data.counts["captions"] == 9 and data.unused == {"empty caption": ["train_000001.png, sentence 3"]}


def test_dubai_cc_reads_one_json_a_split_and_two_years(tmp_path: Path) -> None:
    data = reader("dubai_cc", dubai(tmp_path), split="val")
    same, mixed = check_pairs(data)
    assert same.kind == "unchanged" and mixed.kind == "changed" and mixed.meta["no_change_sentences"] == 1
    assert [path.parent.name for path in same.images] == ["500_2000", "500_2010"]
    with pytest.raises(UserError, match="Train_Dubai_CC.json does not exist"):
        reader("dubai_cc", tmp_path, split="train")


@pytest.mark.real_data
def test_real_levir_cc(tmp_path: Path) -> None:
    root = Path(os.environ["RSMOE_DATA"]) / "levir_cc"
    samples = check_pairs(reader("levir_cc", root, split="train"))
    assert [s.id for s in samples] == ["train_000016.png", "train_000051.png", "train_000054.png"]
    assert all(s.kind == "changed" and len(s.responses) == 5 for s in samples)
    assert load_image(samples[0].images[1]).shape == (256, 256, 3)
    # all 8,148 captioned pairs of train and val in the release's format, over the images that are there
    texts = json.loads((root / "captions_train_val.json").read_text())
    rows = [
        {"filename": f, "split": f.split("_")[0], "sentences": [{"raw": t} for t in said]} for f, said in texts.items()
    ]
    write(tmp_path / "LevirCCcaptions.json", {"images": rows})
    (tmp_path / "images").symlink_to(root / "images")
    with pytest.raises(UserError, match="6812 of 6815 annotated names have no image"):
        reader("levir_cc", tmp_path, split="train")
    data = reader("levir_cc", tmp_path, split="train", missing_images="skip")
    assert data.counts["pairs"] == 3 and len(data.unused["not all files are there"]) == 6812
    assert [s.kind for s in check_pairs(data)] == ["changed"] * 3  # without a flag, from the sentences


@pytest.mark.real_data
def test_real_annotations_agree_with_the_official_counts(tmp_path: Path) -> None:
    real = Path(os.environ["RSMOE_DATA"])
    texts = json.loads((real / "levir_cc/captions_train_val.json").read_text())
    rows = [
        {"filename": f, "split": f.split("_")[0], "sentences": [{"raw": t} for t in said]} for f, said in texts.items()
    ]
    write(tmp_path / "levir/LevirCCcaptions.json", {"images": rows})
    for date in "AB":
        (tmp_path / f"levir/images/val/{date}").mkdir(parents=True)
        for row in rows:
            if row["split"] == "val":
                (tmp_path / f"levir/images/val/{date}/{row['filename']}").write_bytes(b"not decoded")
    data = reader("levir_cc", tmp_path / "levir", split="val")
    assert data.counts == data.official["val"] | {"empty_captions": 0}
    annotations = real / "dubai_cc_annotations/description_jsontr_te_val"
    (tmp_path / "dubai").mkdir()
    (tmp_path / "dubai/description_jsontr_te_val").symlink_to(annotations)
    for file in (f["filename"] for path in annotations.glob("*.json") for f in json.loads(path.read_text())["images"]):
        for year in ("2000", "2010"):
            path = tmp_path / f"dubai/imgs_tiles/RGB/500_{year}/{file}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"not decoded")
    for split in ("train", "val", "test"):
        data = reader("dubai_cc", tmp_path / "dubai", split=split)
        assert data.counts == data.official[split] | {"empty_captions": 0}
    assert sum(0 < data[i].meta["no_change_sentences"] < 5 for i in range(len(data))) == 9

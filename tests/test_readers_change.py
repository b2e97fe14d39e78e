"""Readers of pairs, change instructions and their parsers: tiny releases in each layout, real files, broken input."""

from __future__ import annotations

import json
import os
import pickle
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from readers import reader, write
from scipy import ndimage

from rsmoe.data.change_answers import parse_cells, parse_counts, parse_presence, write_cells, write_counts
from rsmoe.data.change_cells import CELLS, cell_shares, cells_of
from rsmoe.data.change_facts import facts_of_masks, facts_of_sample, facts_of_scenes
from rsmoe.data.change_instructions import KINDS, instructions, location_prompt, question_kind
from rsmoe.data.change_wording import open_questions
from rsmoe.data.components import label_components, without_specks
from rsmoe.data.images import load_image, read_array
from rsmoe.data.mask_sources import IndexMap
from rsmoe.data.sample import Sample
from rsmoe.data.scenes.change_language import NO_CHANGE, change_captions
from rsmoe.data.scenes.generator import SceneGenerator
from rsmoe.data.transition_map import TransitionMap, split_transitions, transition_names
from rsmoe.errors import UserError

H, W = 9, 12


def picture(path: Path, array: np.ndarray | int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((H, W, 3), array, np.uint8) if isinstance(array, int) else array).save(path)


def check(data: Any) -> list[Sample]:
    """What holds for every reader of pairs."""
    samples = [data[i] for i in range(len(data))]
    assert len({s.id for s in samples}) == len(samples) == len(data) > 0
    assert data.protocol == "" and all(isinstance(n, int) for n in data.counts.values())
    assert isinstance(data.unused, dict) and isinstance(data.official, dict)
    for sample in samples:
        assert len(sample.images) == 2 and sample.source == data.name
        assert all(r.count("[SEG]") == (sample.task == "mask") for r in sample.responses)
        assert (sample.mask is not None) == (sample.task == "mask")
        for part, dtype in ((sample.mask, bool), (sample.class_map, np.uint8)):
            if part is not None:
                array = read_array(part)
                assert array.dtype == dtype and array.shape == load_image(sample.images[0]).shape[:2]
                assert dtype is bool or set(np.unique(array)) <= {*range(len(sample.classes)), 255}
        json.dumps(sample.meta)  # shards keep it
    again = pickle.loads(pickle.dumps(data))
    assert [again[i].id for i in range(len(again))] == [s.id for s in samples]
    return samples


# --- LEVIR-CC, DUBAI-CC ---

NEW = ("a house appears on the left .", "a villa is built .", "one house .", "a new house .", "a house shows up .")


def levir_row(file: str, split: str, changed: bool, **more: Any) -> dict[str, Any]:
    texts = NEW if changed else [f"{text} ." for text in NO_CHANGE]
    sentences = [
        {"raw": f" {text}", "tokens": text.split()[:-1], "imgid": 0, "sentid": i} for i, text in enumerate(texts)
    ]
    return {
        "filepath": split,
        "filename": file,
        "imgid": 0,
        "split": split,
        "sentids": [0],
        "sentences": sentences,
        **more,
    }


def levir(root: Path, *, flag: bool = True) -> Path:
    rows = [("train_000001.png", "train", 1), ("train_000002.png", "train", 0), ("test_000001.png", "test", 1)]
    more = [{"changeflag": changed} if flag else {} for *_, changed in rows]
    content = [levir_row(file, split, bool(c), **m) for (file, split, c), m in zip(rows, more, strict=True)]
    write(root / "LevirCCcaptions.json", {"images": content, "dataset": "LEVIR-CC"})
    for i, (file, split, _) in enumerate(rows):
        picture(root / "images" / split / "A" / file, 10 + i)
        picture(root / "images" / split / "B" / file, 100 + i)
    return root


@pytest.mark.parametrize("flag", [True, False])
def test_levir_cc_pairs_are_changed_by_the_flag_or_by_all_sentences(tmp_path: Path, flag: bool) -> None:
    data = reader("levir_cc", levir(tmp_path, flag=flag), split="train")
    changed, same = check(data)
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
    assert [s.id for s in check(data)] == ["train_000002.png"] and data.counts["pairs"] == 1
    assert data.unused == {"not all files are there": ["train_000001.png"]}
    (tmp_path / "images/train/A/train_000002.png").unlink()
    with pytest.raises(UserError, match="no pair of 'train' has all its files.*images/train/A"):
        reader("levir_cc", tmp_path, split="train", missing_images="skip")


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


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
    texts = {
        "1x4.tif": ["Nothing has changed.", "There is no difference.", "All remained the same.", "No change was made."],
        "8x3.tif": [
            "Nothing has changed.",
            "A road crossing appeared in the not urbanized area.",
            "A road.",
            "A lane.",
        ],
    }
    rows = [
        {"filename": f, "split": "val", "image_id": i, "sentences": [{"raw": t, "tokens": t.split()} for t in said]}
        for i, (f, said) in enumerate(texts.items())
    ]
    write(tmp_path / "description_jsontr_te_val/Validation_Dubai_CC.json", {"dataset": "Dubai_CC", "images": rows})
    for file in texts:
        picture(tmp_path / f"imgs_tiles/RGB/500_2000/{Path(file).stem}.png", 20)
        picture(tmp_path / f"imgs_tiles/RGB/500_2010/{Path(file).stem}.png", 21)
    data = reader("dubai_cc", tmp_path, split="val")
    same, mixed = check(data)
    assert same.kind == "unchanged" and mixed.kind == "changed" and mixed.meta["no_change_sentences"] == 1
    assert [path.parent.name for path in same.images] == ["500_2000", "500_2010"]
    with pytest.raises(UserError, match="Train_Dubai_CC.json does not exist"):
        reader("dubai_cc", tmp_path, split="train")


@pytest.mark.real_data
def test_real_levir_cc(tmp_path: Path) -> None:
    root = Path(os.environ["RSMOE_DATA"]) / "levir_cc"
    samples = check(reader("levir_cc", root, split="train"))
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
    assert [s.kind for s in check(data)] == ["changed"] * 3  # without a flag, from the sentences


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


# --- LEVIR-MCI, SECOND-CC ---


def levir_mci(root: Path, *, bands: int = 3) -> Path:
    label = np.zeros((H, W), np.uint8)
    label[0:3, 0:3], label[5:8, 6:12] = 255, 128
    for file in ("train_000001.png", "train_000002.png"):
        mask = label if file == "train_000001.png" else np.zeros_like(label)
        picture(levir(root) / "images/train/label" / file, np.dstack([mask] * 3) if bands == 3 else mask)
    return root


@pytest.mark.parametrize("bands", [1, 3])
def test_levir_mci_masks(tmp_path: Path, bands: int) -> None:
    data = reader("levir_mci", levir_mci(tmp_path, bands=bands), split="train", tasks=["change_caption", "mask"])
    caption, mask, same, empty = check(data)
    assert (caption.id, mask.id) == ("train_000001.png", "train_000001.png:mask") and mask.kind == "change"
    assert caption.classes == ("no change", "road", "building") and caption.responses == NEW
    np.testing.assert_array_equal(np.bincount(read_array(caption.class_map).ravel()), [H * W - 27, 18, 9])
    np.testing.assert_array_equal(read_array(mask.mask), read_array(mask.class_map) > 0)
    assert same.kind == "unchanged" and not read_array(empty.mask).any()
    facts = facts_of_sample(caption)
    assert facts.counts == {"road": 1, "building": 1} and facts.captions == NEW
    assert facts.cells == {"road": ("center-center", "center-right", "bottom-center", "bottom-right"),
                           "building": ("top-left",)}  # fmt: skip
    assert len(check(reader("levir_mci", tmp_path, split="train"))) == 2  # captions alone by default


def test_levir_mci_bad_masks(tmp_path: Path) -> None:
    path = levir_mci(tmp_path) / "images/train/label/train_000001.png"
    picture(path, np.full((H, W), 64, np.uint8))
    data = reader("levir_mci", tmp_path, split="train")
    with pytest.raises(UserError, match="holds the values 64, which mean no class"):
        read_array(data[0].class_map)
    picture(path, np.zeros((H, W + 1), np.uint8))
    with pytest.raises(UserError, match="13 x 9 pixels, its image .* 12 x 9"):
        read_array(data[0].class_map)
    path.unlink()
    with pytest.raises(UserError, match="1 of 2 annotated names have no image in .*label"):
        reader("levir_mci", tmp_path, split="train")


def second(root: Path) -> Path:
    rows = [{"filename": "00012.png", "split": "test", "sentences": [{"raw": text} for text in NEW]}]
    write(root / "SECOND-CC-AUG.json", {"images": rows})
    before, after = (np.full((H, W, 3), 255, np.uint8) for _ in range(2))
    before[2:5, 3:6], after[2:5, 3:6] = (0, 255, 0), (128, 0, 0)  # tree to building
    before[8, 0], after[8, 0] = (0, 0, 255), (128, 128, 128)  # water to ground
    after[0, 11] = (0, 128, 0)  # on one date only
    for name, array in (("sem/A", before), ("sem/B", after), ("rgb/A", 60), ("rgb/B", 70)):
        picture(root / "test" / name / "00012.png", array)
    return root


def test_second_cc_keeps_both_semantic_maps_in_one(tmp_path: Path) -> None:
    data = reader("second_cc", second(tmp_path), split="test", tasks=["change_caption", "mask"])
    caption, mask = check(data)
    assert caption.kind == "changed" and len(caption.classes) == 37 and caption.meta == {"no_change_sentences": 0}
    values = read_array(caption.class_map)
    assert caption.classes[values[3, 4]] == "tree to building" and caption.classes[values[8, 0]] == "water to ground"
    assert values[0, 11] == 255 and values[0, 0] == 0 and read_array(mask.mask).sum() == 10
    before, after = split_transitions(values, 6)
    assert (before[3, 4], after[3, 4], before[8, 0], after[8, 0]) == (4, 5, 1, 2)
    assert before[0, 11] == after[0, 11] == 255 and before[0, 0] == after[0, 0] == 0


def test_second_cc_unchanged_sentences_and_foreign_colours(tmp_path: Path) -> None:
    second(tmp_path)
    edit(
        tmp_path / "SECOND-CC-AUG.json",
        lambda c: c["images"][0].update(
            sentences=[{"raw": "no change is occurred ."}, {"raw": "There is no difference"}]
        ),
    )
    picture(tmp_path / "test/sem/A/00012.png", 0)
    data = reader("second_cc", tmp_path, split="test")
    assert data[0].kind == "unchanged"
    with pytest.raises(UserError, match="1 colours that mean no class: #000000"):
        read_array(data[0].class_map)
    (tmp_path / "test/sem/B/00012.png").unlink()
    with pytest.raises(UserError, match="sem/B"):
        reader("second_cc", tmp_path, split="test")


class Known:
    """A map that is there already."""

    def __init__(self, array: Any) -> None:
        self.array, self.key = np.uint8(array), str(array)

    def read(self) -> np.ndarray:
        return self.array


def test_transitions_of_every_class_come_back() -> None:
    a, b = (grid.ravel() + 1 for grid in np.meshgrid(np.arange(15), np.arange(15)))
    both = TransitionMap(Known([np.r_[0, a]]), Known([np.r_[0, b]]), 15).read()
    for found, given_map in zip(split_transitions(both, 15), (a, b), strict=True):
        np.testing.assert_array_equal(found[0], np.r_[0, given_map])
    names = transition_names([f"c{i}" for i in range(15)])
    assert names[both[0, 1 + 3]] == "c3 to c0" and len(names) == 226
    with pytest.raises(UserError, match="differ in size"):
        TransitionMap(Known([[0]]), Known([[0, 0]]), 2).read()
    with pytest.raises(UserError, match="a class beyond 2"):
        TransitionMap(Known([[3]]), Known([[1]]), 2).read()
    with pytest.raises(ValueError, match="1 to 15"):
        TransitionMap(Known([[0]]), Known([[0]]), 16)


# --- ChangeChat ---

PRESENCE = "<image> <image> Please judge whether these two images have changed. Please answer yes or no."
CAPTION = "<image> <image> Please briefly describe the changes in these two images."
COUNT = "<image> <image> Please determine how many roads and buildings have changed?"
LOCATION = (
    "<image> <image> Please indicate the locations where changes have occurred in the buildings and roads, using a 3x3 "
    "grid (namely, 'top', 'center', and 'bottom' vertically and 'left', 'center', 'right' horizontally)."
)
DIALOGUE = (  # the record in the release's own notebook
    PRESENCE, "No",
    "If changes have occurred, count the number of road and building changes separately.",
    "No roads has changed, and no buildings has changed.",
    "Based on the above analysis, please describe the changes of these two images in detail.",
    "No change has occurred.",
)  # fmt: skip


def record(*texts: str, split: str = "train", number: int = 1, flag: int | None = 0, **more: Any) -> dict[str, Any]:
    said = [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]
    image = [f"{split}/{date}/{split}_00000{number}.png" for date in "AB"]
    return {"id": 9, "image": image, **({} if flag is None else {"changeflag": flag}), "conversations": said, **more}


def changechat(root: Path) -> Path:
    train = [
        record(CAPTION, "There is no difference."),
        record(CAPTION, "A house appears on the left.", flag=1),
        record(PRESENCE, "Yes", flag=1),
        record(COUNT, "There are 2 new roads and 5 new buildings.", flag=1),
        record(COUNT, "Several things.", flag=1),
        record(LOCATION, "roads: []. buildings: ['top-left', 'center-center'].", flag=1),
        record("<image> <image> what is the location of the road in the image?", "Near the house."),
        record(*DIALOGUE),
    ]
    folder = root / "changechat/annotations"
    write(folder / "changechat_105k_train.json", train)
    images = {f"image_{date}": f"test/{date}/test_000001.png" for date in "AB"}
    tests = {
        "": [{**images, "captions": list(NEW), "changeflag": 1}],
        "_binary": [record(PRESENCE, "no", split="test")],
        "_count": [record(COUNT, "There are no changes in roads or buildings.", split="test")],
        "_loc": [record(LOCATION, "roads: ['bottom-right']. buildings: [].", split="test", flag=1)],
        "_open": [record("<image> <image> Is it new?", "It is.", split="test", flag=1)],
        "_dialog": [record(*DIALOGUE, split="test")],
    }
    for name, rows in tests.items():
        write(folder / f"changechat_105k_test{name}.json", rows)
    levir(root / "levir_cc")
    return root / "changechat"


def test_changechat_train_is_sorted_by_its_fixed_questions(tmp_path: Path) -> None:
    data = reader("changechat", changechat(tmp_path), split="train")
    same, new, presence, count, unread, location, free, *turns = check(data)
    assert data.counts == {"pairs": 1, "caption": 2, "presence": 1, "count": 2, "location": 1, "open": 1, "dialogue": 1,
                           "turns": 10}  # fmt: skip
    assert set(data.official["train"]) <= set(data.counts)
    assert [s.kind for s in (same, new, presence, count, location, free)] == [
        "unchanged", "changed", "presence", "count", "location", "open",
    ]  # fmt: skip
    assert (same.task, presence.task) == ("change_caption", "change_vqa")
    assert presence.instruction == PRESENCE.removeprefix("<image> <image> ") and presence.meta["changed"] is True
    assert count.meta["change_counts"] == {"road": 2, "building": 5}
    assert location.meta["change_cells"] == {"road": (), "building": ("top-left", "center-center")}
    assert location.directional and not presence.directional and new.directional
    assert location.images[1].parent.parts[-4:] == ("levir_cc", "images", "train", "B")
    assert "change_counts" not in unread.meta and unread.responses == ("Several things.",)
    assert data.unused == {"target not read: count (the text is used)": ["changechat_105k_train:4:0"]}
    assert [len(s.history) for s in turns] == [0, 1, 2] and {s.kind for s in turns} == {"dialogue"}
    assert [s.meta["asks"] for s in turns] == ["presence", "count", "caption"]
    assert turns[1].meta["change_counts"] == {"road": 0, "building": 0} and turns[0].meta["changed"] is False
    assert turns[2].history[1] == (DIALOGUE[2], DIALOGUE[3]) and not turns[2].directional
    words = sum(len(text.split()) for turn in turns[2].history for text in turn) + len(turns[2].instruction.split())
    assert words > 50 and turns[2].instruction.endswith("in detail.")  # where DeltaVLM's own processor cuts


def test_changechat_test_files_and_kinds(tmp_path: Path) -> None:
    data = reader("changechat", changechat(tmp_path), split="test")
    samples = check(data)
    assert [s.kind for s in samples] == ["changed", "presence", "count", "location", "open", *["dialogue"] * 3]
    assert samples[0].responses == NEW and samples[2].meta["change_counts"] == {"road": 0, "building": 0}
    assert data.unused == {} and data.counts["turns"] == 8
    one = reader("changechat", tmp_path / "changechat", split="test", kinds=["location"])
    assert [s.kind for s in check(one)] == ["location"]
    assert [
        s.meta["asks"] for s in check(reader("changechat", tmp_path / "changechat", split="train", kinds=["open"]))
    ] == ["open"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": 0}, "no key 'image'"),
        (record(CAPTION, "A house.", image=["train/A/train_000001.png"]), "expected two images"),
        (record(CAPTION, "A house.", image=["../secret.png", "train/B/train_000001.png"]), "does not lie in"),
        (record(CAPTION, "A house.", image=["train/A/x.png", "train/B/x.png"]), "x.png.*missing_images=skip"),
        (record(CAPTION, "A house.", flag="1"), "'changeflag' should be a whole number"),  # type: ignore[arg-type]
        ({**record(), "conversations": [{"from": "gpt", "value": "A"}]}, "turns have to alternate"),
        ({"image_A": "a", "image_B": "b", "captions": []}, "'captions' should hold sentences"),
        ([1], "expected an object"),
    ],
)
def test_changechat_broken_rows(tmp_path: Path, row: Any, message: str) -> None:
    write(changechat(tmp_path) / "annotations/changechat_105k_train.json", [row])
    with pytest.raises(UserError, match=message):
        reader("changechat", tmp_path / "changechat", split="train")


def test_changechat_bad_options_and_partial_images(tmp_path: Path) -> None:
    root = changechat(tmp_path)
    for options, message in (
        ({"split": "val"}, "unknown split of changechat 'val'"),
        ({"split": "train", "kinds": ["counts"]}, "Did you mean 'count'"),
        ({"split": "train", "files": {"train": {"annotations/changechat_105k_train.json": "all"}}}, "unknown kind of"),
        ({"split": "test", "missing_images": "no"}, "unknown missing_images"),
        ({"split": "train", "images_root": str(tmp_path / "nowhere")}, "is not a folder"),
    ):
        with pytest.raises(UserError, match=message):
            reader("changechat", root, **options)
    far = record(CAPTION, "A house.", number=7)
    edit(root / "annotations/changechat_105k_train.json", lambda rows: rows.append(far))
    data = reader("changechat", root, split="train", missing_images="skip")
    assert data.counts["caption"] == 2 and data.unused["no image files"] == ["changechat_105k_train:8"]
    write(root / "annotations/changechat_105k_train.json", [far])
    with pytest.raises(UserError, match="none of the 2 images"):
        reader("changechat", root, split="train", missing_images="skip")


# --- A / B / label ---


def folders(root: Path, before: str, after: str, label: str, names: str, *, colour: Any = 255) -> None:
    for i, name in enumerate(names.split()):
        mask = np.zeros((H, W, 3) if isinstance(colour, tuple) else (H, W), np.uint8)
        mask[i : i + 3, 2:6] = colour
        for folder, content in ((before, 50), (after, 60), (label, mask)):
            picture(root / folder / f"{name}.png", content)


@pytest.mark.parametrize(
    ("name", "layout", "colour", "what"),
    [
        ("levir_cd", ("val/A", "val/B", "val/label"), 255, "building"),
        ("dsifn_cd", ("val/t1", "val/t2", "val/mask"), 255, "area"),
        ("dsifn_cd", ("val/A", "val/B", "val/label"), 255, "area"),
        ("s2looking", ("val/Image1", "val/Image2", "val/label"), (255, 0, 0), "building"),
        ("s2looking", ("val/Image1", "val/Image2", "val/label"), 255, "building"),
    ],
)
def test_change_folders_as_released(tmp_path: Path, name: str, layout: Any, colour: Any, what: str) -> None:
    folders(tmp_path, *layout, "a1 b2", colour=colour)
    data = reader(name, tmp_path, split="val")
    first, second_pair = check(data)
    assert data.counts == {"pairs": 2} and (first.task, first.kind) == ("mask", "change")
    assert first.classes == ("no change", what) and first.mask.key != second_pair.mask.key
    expected = np.zeros((H, W), bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(read_array(second_pair.mask), expected)
    np.testing.assert_array_equal(read_array(second_pair.class_map), expected)
    with pytest.raises(UserError, match=f"{name}: .* has none of the layouts for split 'test'.*It holds: val"):
        reader(name, tmp_path, split="test")


def test_change_folders_with_lists_and_by_names(tmp_path: Path) -> None:
    folders(tmp_path, "A", "B", "label", "train_1 train_2 test_1")
    assert [s.id for s in check(reader("levir_cd", tmp_path, split="train"))] == ["train_1.png", "train_2.png"]
    with pytest.raises(UserError, match=r"no pair of split 'val'.*3 images, none named 'val_\*'"):
        reader("levir_cd", tmp_path, split="val")
    write(tmp_path / "list/val.txt", "test_1.png\n\ntrain_2.png\n")
    data = reader("levir_cd", tmp_path, split="val")
    assert [s.id for s in check(data)] == ["test_1.png", "train_2.png"] and data.layout.names == "list/{split}.txt"
    write(tmp_path / "list/val.txt", "test_9.png\n")
    with pytest.raises(UserError, match="1 of 1 annotated names have no image.*test_9.png"):
        reader("levir_cd", tmp_path, split="val")


def test_change_folders_bad_input(tmp_path: Path) -> None:
    folders(tmp_path, "A", "B", "label", "0_1 0_2")
    assert len(check(reader("dsifn_cd", tmp_path, split="test"))) == 2
    with pytest.raises(UserError, match="it is all 'test': ask for data.split=test"):
        reader("dsifn_cd", tmp_path, split="train")
    for options, message in (
        ({"split": "tset"}, "unknown split of dsifn_cd 'tset'. Did you mean 'test'"),
        ({"layouts": [{"before": "A", "after": "B", "label": "label"}]}, "does not say which pairs are of which split"),
        ({"layouts": [{"before": "A", "mask": "label"}]}, "a layout has before, after, label"),
        ({"response": "here"}, r"has to hold one \[SEG\]"),
    ):
        with pytest.raises(UserError, match=message):
            reader("dsifn_cd", tmp_path, **{"split": "test", **options})
    data = reader("dsifn_cd", tmp_path, split="test")
    picture(tmp_path / "label/0_1.png", np.full((H, W), 7, np.uint8))
    with pytest.raises(UserError, match="holds the values 7, which mean no class. Known: 0, 255"):
        read_array(data[0].mask)
    (tmp_path / "B/0_2.png").unlink()
    with pytest.raises(UserError, match="1 of 2 annotated names have no image in .*B: 0_2.png"):
        reader("dsifn_cd", tmp_path, split="test")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "split", "pairs"), [("levir_cd", "test", 7), ("levir_cd", "train", 1), ("dsifn_cd", "test", 7)]
)
def test_real_change_folders(name: str, split: str, pairs: int) -> None:
    data = reader(name, Path(os.environ["RSMOE_DATA"]) / name, split=split)
    samples = check(data)
    assert len(samples) == pairs and all(0.05 < read_array(s.mask).mean() < 0.7 for s in samples)
    noun = data.classes[1]
    for sample in samples:
        facts = facts_of_sample(sample, nouns=[noun], min_pixels=20)
        labels, number = ndimage.label(without_specks(read_array(sample.mask), 20), np.ones((3, 3)))
        assert facts.counts == {noun: number} and facts.changed and labels.max() == number > 0
        made = instructions(facts, kinds=(*KINDS, "mask"))
        assert Counter(s.kind for s in made) == {"changed": 1, "presence": 1, "count": 1, "location": 1, "open": 4,
                                                 "dialogue": 3, "change": 1}  # fmt: skip


# --- cells and components ---


@given(mask=arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))), diagonal=st.booleans())
@settings(max_examples=150, deadline=None)
def test_components_are_those_of_scipy(mask: np.ndarray, diagonal: bool) -> None:
    labels, number = label_components(mask, diagonal=diagonal)
    expected, count = ndimage.label(mask, np.ones((3, 3)) if diagonal else None)
    assert number == count and labels.dtype == np.int32
    np.testing.assert_array_equal(labels, expected)


def test_components_of_hard_shapes() -> None:
    rng = np.random.default_rng(0)
    snake = np.zeros((101, 101), bool)
    snake[::2] = True
    snake[1::4, -1] = snake[3::4, 0] = True
    comb = np.ones((50, 51), bool)
    comb[:-1, 1::2] = False
    for mask in (snake, comb, rng.random((200, 300)) < 0.41, np.ones((1, 1)), np.zeros((3, 5)), np.eye(30)):
        for diagonal in (True, False):
            expected, count = ndimage.label(mask, np.ones((3, 3)) if diagonal else None)
            labels, number = label_components(mask, diagonal=diagonal)
            assert number == count
            np.testing.assert_array_equal(labels, expected)
    assert label_components(snake, diagonal=False)[1] == label_components(comb, diagonal=False)[1] == 1


def test_specks_are_no_change_anywhere() -> None:
    mask = np.zeros((30, 30), bool)
    mask[2:6, 2:6] = mask[29, 29] = True
    facts = facts_of_masks(
        {"road": np.zeros((30, 30)), "building": mask}, id="a", images=PAIR, source="s", min_pixels=4
    )
    assert facts.counts == {"road": 0, "building": 1} and facts.cells["building"] == ("top-left",)
    assert facts.shares[0] == 1 and facts.fraction == 16 / 900 and facts.mask.sum() == 16
    none = facts_of_masks({"building": mask}, id="a", images=PAIR, source="s", min_pixels=17)
    assert not none.changed and none.counts == {"building": 0} and instructions(none)[1].responses == ("No",)


def test_cells_follow_the_share_of_the_change() -> None:
    mask = np.zeros((9, 9), bool)
    for i, name in enumerate(CELLS):
        one = mask.copy()
        one[3 * (i // 3) + 1, 3 * (i % 3) + 1] = True
        assert cells_of(one) == (name,)
    mask[0:5, 0:5] = True  # 9, 6, 6, 4 of 25
    assert cells_of(mask) == ("top-left", "top-center", "center-left", "center-center")
    mask[0, 8] = True  # 1 of 26: below 5 %
    assert "top-right" not in cells_of(mask) and "top-right" in cells_of(mask, min_share=0.03)
    assert cells_of(np.zeros((4, 4))) == () and cells_of(np.ones((4, 4))) == CELLS
    with pytest.raises(ValueError, match="from 0 to 1/9"):
        cells_of(mask, min_share=0.2)


@given(mask=arrays(bool, st.tuples(st.integers(1, 25), st.integers(1, 25))))
@settings(max_examples=80, deadline=None)
def test_a_change_has_a_cell_and_the_cells_mirror_with_it(mask: np.ndarray) -> None:
    assert cell_shares(mask).sum() == pytest.approx(float(mask.any()))
    assert bool(cells_of(mask)) == mask.any()
    if mask.shape[1] % 3 == 0:
        swap = {"left": "right", "right": "left"}
        mirrored = {"-".join(swap.get(part, part) for part in cell.split("-")) for cell in cells_of(mask)}
        assert set(cells_of(mask[:, ::-1])) == mirrored


# --- answers ---

NOUNS = st.lists(st.sampled_from(["road", "building", "tree", "water area", "ship", "bush"]), min_size=1, unique=True)


@given(data=st.data(), nouns=NOUNS)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(data: st.DataObject, nouns: list[str]) -> None:
    counts = {noun: data.draw(st.integers(0, 5000)) for noun in nouns}
    assert parse_counts(write_counts(counts), nouns) == counts
    cells = {noun: tuple(c for c in CELLS if data.draw(st.booleans())) for noun in nouns}
    text = write_cells(cells)
    assert parse_cells(text, nouns) == cells
    # ChangeChat's text processor takes the punctuation, and the case
    assert parse_cells(re.sub(r"[.!\"()*#:;~]", "", text.lower()), nouns) == cells
    assert parse_counts(re.sub(r"[.!\"()*#:;~]", "", write_counts(counts).lower()), nouns) == counts


@pytest.mark.parametrize(
    ("text", "road", "building"),
    [
        ("No roads has changed, and no buildings has changed.", 0, 0),
        ("There are no changes in roads or buildings.", 0, 0),
        ("there are no new roads or buildings", 0, 0),
        ("There are 2 new roads and 5 new buildings.", 2, 5),
        ("no new roads and 5 new buildings", 0, 5),
        ("12 buildings; 0 roads", 0, 12),
        ("A road has changed, and twelve buildings have changed.", 1, 12),
        ("2 roads and 3 buildings, and these 2 roads", 2, 3),
    ],
)
def test_counts_in_the_forms_of_changechat(text: str, road: int, building: int) -> None:
    assert parse_counts(text) == {"road": road, "building": building}


@pytest.mark.parametrize(
    "text",
    [
        "", "2 roads", "many buildings and 2 roads", "2 or 3 roads and no buildings", "2-3 roads and 1 building",
        "2 - 3 roads and 1 building", "2.5 roads and 3 buildings", "1,200 buildings and no roads",
        "-2 roads, 3 buildings",
        "more than 3 roads, no buildings", "about 3 roads, no buildings", "2 roads and 3 buildings, 4 roads",
        "roads: 2, buildings: 3", "one hundred and two roads and 3 buildings", "no roads, buildings: 5",
        "no roads and buildings 5", "twenty roads, no buildings", "12345678901234567890 roads and no buildings",
        "2 crossroads and 3 buildings", "no change has occurred", "3 roads were lost among the buildings",
    ],
)  # fmt: skip
def test_counts_are_not_guessed(text: str) -> None:
    assert parse_counts(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "roads: []", "roads: []. buildings: []. roads: [].", "roads: ['top-centre']. buildings: [].",
        "roads: ['TL']. buildings: [].", "roads: ['left']. buildings: [].", "the roads: []. buildings: [].",
        "roads: []. buildings: []. And trees.", "roads: [[]]. buildings: [].",
        "roads: ['top-left' 'top-right'] buildings []",
        "roads: top-left. buildings: none.", "cars: []. roads: []. buildings: [].",
        "roads: ['top-left',]. buildings: [].",
    ],
)  # fmt: skip
def test_cells_are_not_guessed(text: str) -> None:
    assert parse_cells(text) is None


def test_cells_are_a_set_in_one_order() -> None:
    assert parse_cells('Buildings: ["bottom-right", top-left, "top-left"]; roads []') == {
        "road": (),
        "building": ("top-left", "bottom-right"),
    }


def test_presence() -> None:
    for text in ("Yes", "yes.", " YES! ", "Yes, a house was built.", "Yes. Two roads are new."):
        assert parse_presence(text) is True
    for text in ("No", "no.", "No, they are the same."):
        assert parse_presence(text) is False
    for text in ("", "No change has occurred.", "yes. no.", "not", "nope", "yesterday", "yes no", "I think yes", "y"):
        assert parse_presence(text) is None


# --- instructions ---

PAIR = (np.zeros((30, 30, 3), np.uint8), np.zeros((30, 30, 3), np.uint8))


def test_prompts_are_changechats() -> None:
    assert f"<image> <image> {location_prompt()}" == LOCATION
    fixed = {PRESENCE: "presence", COUNT: "count", CAPTION: "caption", LOCATION: "location", DIALOGUE[2]: "count",
             DIALOGUE[4]: "caption"}  # fmt: skip
    for text, kind in fixed.items():
        assert question_kind(text.removeprefix("<image> <image> ")) == kind
    assert (
        question_kind("please determine how many roads and buildings have changed") == "count"
    )  # as its processor cuts
    assert question_kind("How many houses are new?") == "open"


def test_the_six_tasks_of_a_pair() -> None:
    road, house = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    road[14:16, :], house[1:4, 1:4], house[6:9, 1:4], house[20:29, 20:29] = True, True, True, True
    masks = {"road": road, "building": house}
    facts = facts_of_masks(masks, id="p", images=PAIR, source="s", captions=NEW, class_map=road + 2 * house)
    made = {s.id: s for s in instructions(facts, open_turns=99)}
    assert list(made)[:4] == ["p:caption", "p:presence", "p:count", "p:location"] and len(made) == 7 + 9
    assert made["p:caption"].responses == NEW and made["p:caption"].kind == "changed"
    assert made["p:count"].responses == ("1 road has changed, and 3 buildings have changed.",)
    assert made["p:location"].responses == (
        "roads: ['center-left', 'center-center', 'center-right']. buildings: ['top-left', 'bottom-right'].",
    )
    assert made["p:location"].meta["change_cells"] == facts.cells and made["p:location"].directional
    last = made["p:dialogue2"]
    assert last.history == tuple(
        (made[f"p:dialogue{i}"].instruction, made[f"p:dialogue{i}"].responses[0]) for i in (0, 1)
    )
    assert last.responses[0].endswith(
        "1 road has changed, and 3 buildings have changed. The changed road is on the left, in the center and on the "
        "right. The changed buildings are in the top left corner and in the bottom right corner."
    )
    assert len(" ".join(t for turn in last.history for t in turn).split()) + len(last.responses[0].split()) > 50
    said = {s.instruction: s.responses[0] for s in made.values() if s.kind == "open"}
    assert said["Have any roads changed?"] == "Yes, 1 road has changed."
    assert said["Have more roads or more buildings changed?"] == "More buildings."
    assert said["Has anything changed in the center of the scene?"] == "Yes."
    assert said["How much of the scene has changed?"] == "About 18 % of the scene."
    assert said["Where has the scene changed the most?"] == "In the bottom right corner."
    assert instructions(facts) == instructions(facts) and len(instructions(facts, kinds=["open"], open_turns=2)) == 2
    for sample in made.values():
        assert sample.class_map is facts.class_map and sample.mask is None and sample.images is PAIR
    mask = instructions(facts, kinds=["mask"])[0]
    assert mask.task == "mask" and "[SEG]" in mask.responses[0] and mask.mask.sum() == 60 + 18 + 81


def test_an_unchanged_pair() -> None:
    nothing = np.zeros((30, 30), bool)
    facts = facts_of_masks({"road": nothing, "building": nothing}, id="p", images=PAIR, source="s")
    made = {s.id: s for s in instructions(facts, open_turns=99)}
    assert made["p:caption"].kind == "unchanged"
    assert {text.removesuffix(" .") for text in made["p:caption"].responses} == set(NO_CHANGE)
    assert made["p:presence"].meta["changed"] is False and made["p:presence"].responses == ("No",)
    assert made["p:location"].responses == ("roads: []. buildings: [].",)
    assert made["p:dialogue2"].responses[0].lower().rstrip(".") in NO_CHANGE and not made["p:dialogue2"].directional
    same = {question for question, _ in open_questions(facts)}
    other = facts_of_masks({"road": ~nothing, "building": nothing}, id="q", images=PAIR, source="s")
    assert same == {question for question, _ in open_questions(other)}  # a question does not give the answer away


def test_other_changes_count_as_change_but_are_not_counted() -> None:
    water = np.zeros((30, 30), bool)
    water[:10, :10] = True
    none = np.zeros((30, 30), bool)
    facts = facts_of_masks({"road": none, "building": none}, id="p", images=PAIR, source="s", anything=water)
    caption, presence, count, location = instructions(facts)[:4]
    assert presence.responses == ("Yes",) and caption.kind == "changed" and len(set(caption.responses)) == 5
    assert count.meta["change_counts"] == {"road": 0, "building": 0} and location.meta["change_cells"]["road"] == ()
    assert sum("left" in text for text in caption.responses) == 4


def test_templates_agree_in_number_and_differ() -> None:
    rng = np.random.default_rng(1)
    for number in range(40):
        masks = {noun: rng.random((30, 30)) < rng.choice([0, 0.001, 0.004]) for noun in ("road", "building")}
        facts = facts_of_masks(masks, id=str(number), images=PAIR, source="s")
        texts = instructions(facts, kinds=["caption"])[0].responses
        assert len(set(texts)) == 5 and all(text == text.lower() and text.endswith(" .") for text in texts)
        one = sum(facts.counts.values()) == 1
        detailed = instructions(facts, kinds=["dialogue"])[2].responses[0]
        assert not facts.changed or (parse_counts(detailed.split(".")[0]) == facts.counts and "The changed" in detailed)
        for text in texts:
            assert not re.search(r"\b(a|an) \w+ (have|are|do)\b" if one else r"\b\w+s (has|is|does)\b", text), text
            assert "  " not in text


def test_generated_pairs_give_the_same_set() -> None:
    generator, states = SceneGenerator(size_px=48, seed=3), set()
    for index in range(8):
        pair = generator.pair(index)
        captions = change_captions(pair, random.Random(0))
        facts = facts_of_scenes(pair, id=str(index), source="scenes", captions=captions)
        assert facts.changed == bool(pair.changes)
        states.add(facts.changed)
        buildings = sum(change.mask_value == 1 for change in pair.changes)
        assert facts.counts["building"] == buildings and bool(facts.cells["building"]) == bool(buildings)
        made = instructions(facts, kinds=(*KINDS, "mask"))
        assert made[0].responses == captions and made[0].kind == ("changed" if pair.changes else "unchanged")
        assert {s.task for s in made} == {"change_caption", "change_vqa", "mask"}
        assert made[0].classes[1:3] == ("building", "road") and made[0].class_map is pair.change_mask
    assert states == {True, False}
    with pytest.raises(UserError, match="no class lake"):
        facts_of_scenes(pair, id="0", source="scenes", nouns=["lake"])


def test_facts_of_what_cannot_be_told(tmp_path: Path) -> None:
    label = np.zeros((H, W), np.uint8)
    label[1, 1], label[5:7, 5:7] = 255, 255
    picture(tmp_path / "a.png", label)
    sample = Sample(
        id="a", images=(tmp_path / "a.png",) * 2, instruction="", responses=("[SEG]",), task="mask", source="s",
        class_map=IndexMap(tmp_path / "a.png", {0: 0, 255: 1}, ignore=()), classes=("no change", "building"),
    )  # fmt: skip
    with pytest.raises(UserError, match="no class road among no change, building"):
        facts_of_sample(sample)
    assert facts_of_sample(sample, nouns=["building"]).counts == {"building": 2}
    assert not isinstance(facts_of_sample(sample, nouns=["building"]).mask, np.ndarray)  # stays on disk
    assert facts_of_sample(sample, nouns=["building"], min_pixels=2).mask.sum() == 4
    plain = Sample(id="b", images=PAIR, instruction="", responses=("x",), task="mask", source="s", mask=label > 0)
    assert facts_of_sample(plain, nouns=["house"]).counts == {"house": 2}
    with pytest.raises(UserError, match="one mask, which cannot tell road from building"):
        facts_of_sample(plain)
    bare = Sample(id="c", images=PAIR, instruction="", responses=("x",), task="change_vqa", source="s")
    with pytest.raises(UserError, match="no mask"):
        facts_of_sample(bare)
    with pytest.raises(UserError, match="about two images, this sample has 1"):
        facts_of_sample(Sample(id="d", images=PAIR[:1], instruction="", responses=("x",), task="vqa", source="s"))
    with pytest.raises(UserError, match=r"masks of one size, found \{'road': \(2, 2\), 'building': \(3, 3\)\}"):
        facts_of_masks({"road": np.ones((2, 2)), "building": np.ones((3, 3))}, id="e", images=PAIR, source="s")
    with pytest.raises(UserError, match="found none"):
        facts_of_masks({}, id="e", images=PAIR, source="s")
    with pytest.raises(UserError, match="unknown kind of change instruction 'captions'. Did you mean 'caption'"):
        instructions(facts_of_sample(plain, nouns=["house"]), kinds=["captions"])

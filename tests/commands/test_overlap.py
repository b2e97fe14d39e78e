"""Planted copies are found, look-alikes are not, and the report says which is which."""

from __future__ import annotations

import io
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rsmoe.commands.overlap import cli, leakage_json, overlap, sheet_pairs
from rsmoe.data.overlap.fingerprint import fingerprint
from rsmoe.data.overlap.leakage import find_leakage
from rsmoe.data.overlap.near_duplicates import SYMMETRIES, NearDuplicates, turned
from rsmoe.data.readers.karpathy import KarpathyCaptions, karpathy_rows
from rsmoe.errors import UserError
from rsmoe.figures.overlap_sheet import plot_pairs
from rsmoe.figures.overlap_tables import leakage_tables
from rsmoe.scenes.generator import SceneGenerator

Transposed = Image.Transpose


def encoded(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


def cut(image: Image.Image, rng: random.Random) -> Image.Image:
    """A window that is 10 % smaller in one or both directions, in a corner: copies of it are shifted by 10 %."""
    wide, high = image.size
    both = rng.choice([(1, 1), (1, 0), (0, 1)])
    x, y = (rng.choice([0, size // 10]) * on for size, on in zip(image.size, both, strict=True))
    return image.crop((x, y, x + wide - both[0] * (wide // 10), y + high - both[1] * (high // 10)))


PLANTS: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "jpeg 60": lambda image, _: encoded(image),
    "half": lambda image, _: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "larger": lambda image, _: image.resize((image.width * 8 // 5, image.height * 8 // 5), Image.Resampling.BILINEAR),
    "90": lambda image, _: image.transpose(Transposed.ROTATE_90),
    "180": lambda image, _: image.transpose(Transposed.ROTATE_180),
    "270": lambda image, _: image.transpose(Transposed.ROTATE_270),
    "flip": lambda image, rng: image.transpose(rng.choice([Transposed.FLIP_LEFT_RIGHT, Transposed.FLIP_TOP_BOTTOM])),
    "cut": cut,
    "cut and stretched back": lambda image, rng: cut(image, rng).resize(image.size, Image.Resampling.BICUBIC),
    "all": lambda image, rng: encoded(
        cut(image, rng).transpose(rng.choice(list(Transposed))).resize((image.width * 3 // 4,) * 2)
    ),
}


def plant(image: Image.Image, number: int) -> np.ndarray:
    return np.asarray(list(PLANTS.values())[number % len(PLANTS)](image, random.Random(number)))


def scenes(count: int, first: int = 0) -> list[Image.Image]:
    generator = SceneGenerator(size_px=128, seed=0)
    return [Image.fromarray(generator.scene(i).image[..., :3]) for i in range(first, first + count)]


def thumbnails(images: list[Any]) -> list[np.ndarray]:
    return [fingerprint(image if isinstance(image, Path) else np.asarray(image)).thumbnail for image in images]


def release(root: Path, pictures: dict[str, Any], captions: dict[str, list[str]], split: str) -> KarpathyCaptions:
    (root / "images").mkdir(parents=True)
    for name, picture in pictures.items():
        if isinstance(picture, bytes | Path):
            content = picture if isinstance(picture, bytes) else picture.read_bytes()
            (root / "images" / name).write_bytes(content)
        else:
            Image.fromarray(np.asarray(picture)).save(root / "images" / name)
    rows = [{"filename": n, "split": split, "sentences": [{"raw": c} for c in captions[n]]} for n in pictures]
    (root / "dataset.json").write_text(json.dumps({"images": rows}))
    return KarpathyCaptions(root=str(root), split=split, name=root.name, annotations="dataset.json")


# --- near duplicates ---


@pytest.mark.parametrize("number", range(len(PLANTS)), ids=list(PLANTS))
def test_every_kind_of_copy_of_a_generated_scene_is_found(number: int) -> None:
    originals = scenes(12)
    copies = [np.asarray(list(PLANTS.values())[number](image, random.Random(i))) for i, image in enumerate(originals)]
    matches = NearDuplicates(thumbnails(originals)).find(thumbnails(copies))
    assert {(m.test, m.train) for m in matches} == {(i, i) for i in range(12)}


def test_other_scenes_are_no_copies() -> None:
    assert NearDuplicates(thumbnails(scenes(24))).find(thumbnails(scenes(24, first=1000))) == []


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_the_symmetry_lays_the_test_picture_on_the_training_picture(symmetry: str) -> None:
    (scene,) = scenes(1)
    pixels = np.asarray(scene)
    inverse = {"turned clockwise": "turned counterclockwise", "turned counterclockwise": "turned clockwise"}
    test = turned(pixels, inverse.get(symmetry, symmetry))  # the others undo themselves
    (match,) = NearDuplicates(thumbnails([pixels])).find(thumbnails([test]))
    assert match.symmetry == symmetry and match.score > 0.99
    np.testing.assert_array_equal(turned(test, match.symmetry), pixels)
    if symmetry == "turned clockwise":
        np.testing.assert_array_equal(turned(pixels, symmetry), np.rot90(pixels, -1))


def test_equal_slabs_of_two_runways_are_no_copy() -> None:
    """Whole-picture correlation calls them one: nearly all that is seen are the same stripes."""
    columns, rows = np.meshgrid(np.arange(160), np.arange(160))
    stripes = 120 + 60 * np.sign(np.sin((columns + rows) * 2 * np.pi / 40))

    def runway(seed: int) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(0, 14, stripes.shape)
        return np.repeat((stripes + noise).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)

    one, other = thumbnails([runway(0), runway(1)])
    assert np.corrcoef(one.ravel().astype(float), other.ravel().astype(float))[0, 1] > 0.9
    assert NearDuplicates([one]).find([other]) == []
    assert [m.train for m in NearDuplicates([one]).find(thumbnails([encoded(Image.fromarray(runway(0)))]))] == [0]


def test_a_picture_without_contrast_is_like_nothing() -> None:
    plain = thumbnails([np.full((64, 64, 3), value, np.uint8) for value in (90, 90, 0)])
    assert NearDuplicates(plain).find(plain) == []
    assert NearDuplicates([]).find(plain) == NearDuplicates(plain).find([]) == []


def test_many_training_pictures_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    train = thumbnails(scenes(7))
    whole = NearDuplicates(train).find(train[5:])
    monkeypatch.setattr("rsmoe.data.overlap.near_duplicates._PART", 3)
    monkeypatch.setattr("rsmoe.data.overlap.near_duplicates.CANDIDATES", 2)
    assert NearDuplicates(train).find(train[5:]) == whole
    assert [(m.test, m.train, m.symmetry) for m in whole] == [(0, 5, "same"), (1, 6, "same")]
    assert whole[0].score == pytest.approx(1, abs=1e-3)


@pytest.mark.real_data
@pytest.mark.slow
def test_copies_planted_in_a_thousand_rsicd_images() -> None:
    """100 copies and 137 look-alikes; experiments/overlap/README.md has 1,000 copies and 1,094 look-alikes."""
    root = Path(os.environ["RSMOE_DATA"]) / "rsicd"
    rows = karpathy_rows(root / "dataset_rsicd.json")
    files = {s: [root / "RSICD_images" / r["filename"] for r in rows if r["split"] == s] for s in ("train", "val")}
    originals, others = files["train"][:8000:8], files["val"][::8]
    chosen = range(0, 1000, 10)
    copies = [plant(Image.open(originals[i]).convert("RGB"), i // 10 + i) for i in chosen]
    finder = NearDuplicates(thumbnails(originals))
    found = {(chosen[m.test], m.train) for m in finder.find(thumbnails(copies))}
    planted = {(i, i) for i in chosen}
    assert len(found & planted) >= 0.95 * len(planted)
    assert found <= planted
    assert finder.find(thumbnails(others)) == []


# --- leakage ---


@pytest.fixture
def pair_of_releases(tmp_path: Path) -> tuple[KarpathyCaptions, KarpathyCaptions]:
    a, b, c, d = scenes(4)
    words = {"a.png": ["Many Planes .", "a beach"], "b.png": ["two  ships"], "c.png": ["a bridge ."]}
    train = release(tmp_path / "old", {"a.png": a, "b.png": b, "c.png": c}, words, "train")
    captions = {
        "file.png": ["many planes", "a lake"],
        "same.bmp": ["two ships."],
        "near.jpg": ["x"],
        "own.png": ["x"],
        "bad.png": ["a bridge"],
    }
    copy = tmp_path / "old/images/a.png"
    pictures = dict(zip(captions, (copy, b, plant(c, 9), d, b"no picture"), strict=True))
    test = release(tmp_path / "new", pictures, captions, "test")
    return train, test


def test_leakage_says_what_kind_and_whose(pair_of_releases: tuple[KarpathyCaptions, KarpathyCaptions]) -> None:
    train, test = pair_of_releases
    found = find_leakage({"old": train}, {"new": test})
    assert [(p.kind, p.test.id, p.train.id) for p in found.pairs] == [
        ("file", "file.png", "a.png"), ("pixels", "same.bmp", "b.png"), ("near", "near.jpg", "c.png"),
    ]  # fmt: skip
    assert found.leaked("new") == {"file": ["file.png"], "pixels": ["same.bmp"], "near": ["near.jpg"]}
    assert found.pictures == {"old": 3, "new": 4}
    assert list(found.unreadable) == ["new"] and found.unreadable["new"][0].startswith("bad.png: ")
    shared = found.captions["new"]
    assert (shared.captions, shared.shared, shared.samples, shared.samples_all_shared) == (6, 3, 5, 2)
    assert shared.most_frequent == (("many planes", 1), ("two ships", 1), ("a bridge", 1))
    json.dumps(leakage_json(found))


def test_the_sheet_takes_the_least_certain_first(
    tmp_path: Path, pair_of_releases: tuple[KarpathyCaptions, KarpathyCaptions]
) -> None:
    train, test = pair_of_releases
    found = find_leakage({"old": train}, {"new": test})
    assert [p.kind for p in sheet_pairs(found.pairs, 2)] == ["near", "pixels"]
    with Image.open(plot_pairs(tmp_path / "pairs.png", found.pairs)) as sheet:
        assert sheet.width == 1440 and np.asarray(sheet.convert("L")).std() > 20
    with pytest.raises(ValueError, match="at least one pair"):
        plot_pairs(tmp_path / "none.png", [])


def test_one_file_in_two_data_sets_is_found_and_sets_without_captions_are_left_out(tmp_path: Path) -> None:
    (scene,) = scenes(1)
    data = release(tmp_path / "one", {"a.png": scene}, {"a.png": ["a port"]}, "train")
    found = find_leakage({"one": data}, {"two": data})
    assert found.leaked("two")["file"] == ["a.png"] and found.captions["two"].shared == 1
    (pictures, captions) = leakage_tables(found, ["two"])
    assert pictures.row_count == captions.row_count == 1


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    (scene,) = scenes(1)
    data = release(tmp_path / "one", {"a.png": scene}, {"a.png": ["a port"]}, "train")
    bad = release(tmp_path / "bad", {"a.png": b"no picture"}, {"a.png": ["a port"]}, "train")
    with pytest.raises(UserError, match="one is train and test at once"):
        find_leakage({"one": data}, {"one": data})
    with pytest.raises(UserError, match="1 readable pictures in train, 0 in test"):
        find_leakage({"one": data}, {"bad": bad})
    for threshold in (0, 1.2, "high"):
        with pytest.raises(UserError, match=f"threshold={threshold}"):
            find_leakage({"one": data}, {"two": data}, threshold=threshold)  # type: ignore[arg-type]


# --- by name ---


@pytest.fixture
def ucm(tmp_path: Path) -> Path:
    """A tiny UCM-Captions: its test picture is a turned training picture."""
    a, b = scenes(2)
    folder = tmp_path / "ucm_captions"
    pictures = {"1.png": a, "2.png": b, "3.png": plant(a, 3)}
    release(folder, pictures, {name: ["x"] for name in pictures}, "train")
    rows = json.loads((folder / "dataset.json").read_text())
    rows["images"][2]["split"] = "test"
    (folder / "dataset_ucm.json").write_text(json.dumps(rows))
    return tmp_path


def test_names_and_splits(ucm: Path) -> None:
    found = overlap(train=["ucm_captions"], test=["ucm_captions"], root=str(ucm))
    assert [(p.test.data, p.train.data, p.train.id) for p in found.pairs] == [
        ("ucm_captions:test", "ucm_captions:train", "1.png")
    ]
    turned_back = overlap(train=["ucm_captions:test"], test=["ucm_captions:train"], root=str(ucm / "ucm_captions"))
    assert turned_back.leaked("ucm_captions:train")["near"] == ["1.png"]
    with pytest.raises(UserError, match="unknown data set 'ucm_caption'. Did you mean 'ucm_captions'"):
        overlap(train=["ucm_caption"], test=["ucm_captions"], root=str(ucm))
    with pytest.raises(UserError, match=r"ucm_captions:val: unknown split.*Known: test, train"):
        overlap(train=["ucm_captions"], test=["ucm_captions:val"], root=str(ucm))


def test_the_command_writes_json_and_sheet(
    ucm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ucm / "report"
    arguments = ["train=[ucm_captions]", "test=[ucm_captions:test]", f"data.root={ucm}", f"out={out}"]
    monkeypatch.setattr(sys, "argv", ["overlap", *arguments])
    monkeypatch.chdir(ucm)
    cli()
    shown = capsys.readouterr().out
    assert "100.00%" in shown and "1 of 1 leaked pictures" in shown
    report = json.loads((out / "overlap.json").read_text())
    assert report["leaked"]["ucm_captions:test"]["near"] == ["3.png"]
    assert report["pairs"][0]["train"] == {"data": "ucm_captions:train", "id": "1.png"}
    assert (out / "pairs.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(sys, "argv", ["overlap", "train=[]", "test=ucm_captions", f"data.root={ucm}"])
    with pytest.raises(SystemExit, match=r"train=\[\]: expected names of data sets"):
        cli()

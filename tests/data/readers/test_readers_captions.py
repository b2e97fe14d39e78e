"""Readers of captions, an image each: NWPU-Captions, RSITMD, GAIA; official counts and held-out parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.readers import config, reader, same, save, write
from support.release_captions import gaia, nwpu

from rsmoe.data.readers.splits import held_out
from rsmoe.errors import UserError
from rsmoe.parts import instantiate

MINE = (
    "nwpu_captions rsitmd vrsbench_captions gaia skyscript rs5m eurosat uc_merced aid resisc45 capera "
    "ucm_captions sydney_captions rsicd rsicap rsieval rsivqa_ucm rsivqa_rsicd"
).split()


@pytest.mark.parametrize("name", MINE)
def test_official_counts_are_counts_of_splits(name: str) -> None:
    official = config(name)["official"]
    assert set(official) <= {"train", "val", "test", "all"}
    assert all(type(n) is int and n > 0 for counts in official.values() for n in counts.values())


@pytest.mark.parametrize(
    ("name", "key", "total"),
    [
        ("nwpu_captions", "captions", 157_500),
        ("nwpu_captions", "images", 31_500),
        ("rsitmd", "images", 4_743),
        ("rsicd", "captions", 54_605),
        ("sydney_captions", "captions", 3_065),
        ("ucm_captions", "captions", 10_500),
        ("vrsbench_captions", "expressions", 52_472),
        ("vrsbench_captions", "questions", 123_221),
        ("vrsbench_captions", "images", 29_614),
        ("capera", "videos", 2_864),
    ],
)
def test_official_counts_add_up(name: str, key: str, total: int) -> None:
    assert sum(counts[key] for counts in config(name)["official"].values()) == total


@pytest.mark.parametrize("name", ["eurosat", "uc_merced", "aid", "resisc45"])
def test_the_classes_of_a_yaml_are_as_many_as_it_says(name: str) -> None:
    classes = config(name)["classes"]
    assert classes == sorted(set(classes)) and len(classes) == config(name)["official"]["all"]["classes"]


def test_held_out_is_stable_nested_and_keeps_groups() -> None:
    names = [f"P{i // 4:02d}_{i}.png" for i in range(100)]
    small, large = held_out(names, 0.1), held_out(names, 0.3)
    assert len(small) == 10 and len(large) == 30 and small < large
    assert held_out(names[::-1] + names, 0.1) == small
    whole = held_out(names, 0.1, group=lambda n: n[:3])
    assert len(whole) == 12 and all(n in whole for n in names if n[:3] in {w[:3] for w in whole})
    assert held_out(names, 0.0) == set() and len(held_out(names, 1e-6)) == 1
    assert len(held_out([f"{i}" for i in range(30)], 0.1)) == 3  # 0.1 * 30 > 3 in binary


def test_nwpu_captions(tmp_path: Path) -> None:
    data = reader("nwpu_captions", nwpu(tmp_path))
    same(data)
    assert data.counts == {"images": 2, "captions": 9}
    assert data.unused == {"image not in the release": ["airplane_111.jpg"], "empty caption": ["sea_ice_001.jpg"]}
    assert data[1].images == (tmp_path / "NWPU_images/sea_ice/sea_ice_001.jpg",)
    assert data[1].responses[0] == "North ice ." and len(data[1].responses) == 4
    assert [s.directional for s in data] == [False, True]
    assert [s.meta for s in data] == [{"scene_class": "airplane"}, {"scene_class": "sea ice"}]
    save(tmp_path / "NWPU_images/airplane/airplane_111.jpg")  # a mended copy is used
    assert reader("nwpu_captions", tmp_path).counts["images"] == 3


def test_nwpu_captions_refuses(tmp_path: Path) -> None:
    nwpu(tmp_path)
    with pytest.raises(UserError, match="unknown split of nwpu_captions 'test'.*Known: train, val"):
        reader("nwpu_captions", tmp_path, "test")
    with pytest.raises(UserError, match=r"1 of 2 annotated names have no image .*airplane_111\.jpg"):
        reader("nwpu_captions", tmp_path, absent=[])
    (tmp_path / "NWPU_images/sea_ice/sea_ice_002.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="empty files"):
        reader("nwpu_captions", tmp_path, "val")
    for content, message in (
        ([], "should be an object of scene classes"),
        ({"airplane": [{"filename": "a.jpg"}]}, r"'airplane'\[0\]: no key 'split'"),
        ({"airplane": [{"filename": "airplane_001.jpg", "split": "train", "raw": "x"}]}, "no key 'raw_1'"),
        ({"../x": [{"filename": "../../a.jpg", "split": "train"}]}, "does not lie in"),
        ({}, "is empty"),
    ):
        write(tmp_path / "dataset_nwpu.json", content)
        with pytest.raises(UserError, match=message):
            reader("nwpu_captions", tmp_path)


def test_rsitmd_holds_val_out_of_train(tmp_path: Path) -> None:
    rows = [
        {
            "filename": f"airport_{i}.tif",
            "split": "test" if i > 39 else "train",
            "sentences": [{"raw": f"An airport {i}."}],
        }
        for i in range(44)
    ]
    write(tmp_path / "dataset_RSITMD.json", {"images": rows, "dataset": "RSITMD"})
    for i in range(44):
        save(tmp_path / f"images/airport_{i}.tif")
    parts = {split: reader("rsitmd", tmp_path, split) for split in ("train", "val", "test")}
    for data in parts.values():
        same(data)
    assert {split: len(data) for split, data in parts.items()} == {"train": 38, "val": 2, "test": 4}
    assert len({s.id for data in parts.values() for s in data}) == 44
    assert len(reader("rsitmd", tmp_path, val_fraction=0.0)) == 40
    with pytest.raises(UserError, match="Known: test, train"):
        reader("rsitmd", tmp_path, "val", val_fraction=0.0)
    with pytest.raises(UserError, match="val_fraction=1.5"):
        reader("rsitmd", tmp_path, val_fraction=1.5)
    rows[0]["split"] = "val"  # a copy with a val part keeps it
    write(tmp_path / "dataset_RSITMD.json", {"images": rows})
    assert [s.id for s in reader("rsitmd", tmp_path, "val")] == ["airport_0.tif"]


def test_gaia_keeps_sensor_place_and_resolution(tmp_path: Path) -> None:
    data = reader("gaia", gaia(tmp_path))
    same(data)
    assert [(s.id, s.images[0].name) for s in data] == [("7", "7.png"), ("a.b", "a.b.jpg"), ("9", "9.webp")]
    assert data.counts == {"images": 3, "captions": 11} and data.unused == {"empty caption": ["a.b"]}
    meta = data[0].meta
    assert meta["sensors"] == ["MODIS"] and meta["place"] == "Chile" and meta["resolution"] == "Moderate"
    assert meta["lon"] == 0 and "modalities" not in meta and "place" not in data[1].meta
    assert data[1].directional and not data[0].directional and len(data[0].responses) == 5


def test_gaia_leaves_out_dead_addresses_only_when_told(tmp_path: Path) -> None:
    gaia(tmp_path)
    (tmp_path / "images/a.b.jpg").unlink()
    with pytest.raises(UserError, match=r"1 of 3 .*a\.b\.png"):
        reader("gaia", tmp_path)
    data = reader("gaia", tmp_path, incomplete=True)
    assert data.unused == {"image not downloaded": ["a.b"]} and [s.id for s in data] == ["7", "9"]
    (tmp_path / "images/9.webp").unlink()
    (tmp_path / "images/7.png").unlink()
    with pytest.raises(UserError, match="none of the images"):
        reader("gaia", tmp_path, incomplete=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"id": {}}, "expected a list of objects"),
        ([{"captions": []}], "no key 'id'"),
        ([{"id": "../../etc/passwd", "captions": ["x"]}], "is no plain file name"),
        ([{"id": "..", "captions": ["x"]}], "have no image"),
        ([{"id": None, "captions": ["x"]}], "expected a text or a number, found null"),
        ([{"id": 7, "captions": ["x"]}, {"id": "7", "captions": ["x"]}], "or is there twice"),
        ([{"id": 7, "captions": []}], "id 7: no sentence"),
        ([{"id": 7, "captions": "x"}], "'captions' should be list"),
    ],
)
def test_gaia_refuses(tmp_path: Path, content: Any, message: str) -> None:
    write(gaia(tmp_path) / "train_data.json", content)
    with pytest.raises(UserError, match=message):
        reader("gaia", tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_counts_are_the_official_ones(split: str) -> None:
    for name in ("ucm_captions", "rsicd", "rsivqa_ucm", "rsivqa_rsicd"):
        data = instantiate(config(name), split=split)
        official = data.official[split]
        assert official == {key: data.counts[key] for key in official} and data.unused == {}

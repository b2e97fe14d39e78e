"""Readers of scene folders and videos: tiny releases as the formats say, and every kind of broken one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.readers import config, reader, same, save, write
from support.release_captions import camel, scenes, videos

from rsmoe.data.readers.scene_folder import SceneFolder, class_words
from rsmoe.data.readers.video_folder import VideoFolder
from rsmoe.errors import UserError

# --- scene folders ---


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("eurosat", camel),
        ("uc_merced", lambda words: words.replace(" ", "")),
        ("aid", camel),
        ("resisc45", lambda words: words.replace(" ", "_")),
    ],
)
def test_scene_yamls_know_the_folders_of_their_release(tmp_path: Path, name: str, folder: Any) -> None:
    options = config(name)
    images = 2 if name == "resisc45" else 10
    scenes(tmp_path / options["images"], [folder(words) for words in options["classes"]], images)
    parts = {split: reader(name, tmp_path, split) for split in ("train", "test")}
    for data in parts.values():
        same(data)
        assert data.counts["classes"] == len(options["classes"])
        assert {s.responses[0] for s in data} == set(options["classes"])
    sample = parts["train"][0]
    assert sample.task == "vqa" and sample.kind == "scene" and not sample.directional
    assert sample.meta == {"scene_class": sample.responses[0], "classes": tuple(options["classes"])}
    assert sample.instruction.startswith("What is the scene in this image? Answer with one of: ")
    assert sample.instruction.endswith(f"{options['classes'][-1]}.")


def test_scene_splits_are_stratified_disjoint_and_stable(tmp_path: Path) -> None:
    scenes(tmp_path, ["Forest", "SeaLake"])
    parts = {s: SceneFolder(root=str(tmp_path), split=s, name="toy") for s in ("train", "val", "test")}
    ids = {split: [s.id for s in data] for split, data in parts.items()}
    assert {split: len(names) for split, names in ids.items()} == {"train": 14, "val": 2, "test": 4}
    assert len({i for names in ids.values() for i in names}) == 20
    assert all(sum(i.startswith("Forest/") for i in names) * 2 == len(names) for names in ids.values())
    scenes(tmp_path, ["Beach"])  # another class moves nothing
    again = SceneFolder(root=str(tmp_path), split="test", name="toy")
    assert [s.id for s in again if not s.id.startswith("Beach")] == ids["test"]
    # written down, for the split is part of every number: a change of the rule has to be seen
    stems = ["Forest_1", "Forest_5", "SeaLake_10", "SeaLake_8"]
    assert [i.split("/")[1] for i in ids["test"]] == [f"{stem}.jpg" for stem in stems]
    everything = SceneFolder(root=str(tmp_path), split="train", name="toy", test_fraction=0.0, val_fraction=0.0)
    assert len(everything) == 30 and everything[0].instruction == "What is the scene in this image?"
    assert {s.responses[0] for s in everything} == {"beach", "forest", "sea lake"}


def test_scene_lists_decide_where_they_are_given(tmp_path: Path) -> None:
    scenes(tmp_path, ["Forest", "River"], 3)
    lists = {"train": "Forest_1.tif\nRiver/River_1.jpg\n\n", "test": "Forest_2.tif\n"}
    for part, content in lists.items():
        write(tmp_path / f"lists/{part}.txt", content)
    names = {part: f"lists/{part}.txt" for part in lists}
    (tmp_path / "classes").mkdir()
    for folder in ("Forest", "River"):
        (tmp_path / folder).rename(tmp_path / "classes" / folder)
    options: dict[str, Any] = {"root": str(tmp_path), "name": "toy", "images": "classes", "lists": names}
    train = SceneFolder(split="train", **options)
    assert [s.id for s in train] == ["Forest/Forest_1.jpg", "River/River_1.jpg"]
    assert train.unused == {"on no list": ["Forest_3", "River_2", "River_3"]}
    assert [s.id for s in SceneFolder(split="test", **options)] == ["Forest/Forest_2.jpg"]
    with pytest.raises(UserError, match="Known: test, train"):
        SceneFolder(split="val", **options)
    write(tmp_path / "lists/test.txt", "Forest_1.tif\n")
    with pytest.raises(UserError, match="name 1 images more than once: Forest_1"):
        SceneFolder(split="train", **options)
    write(tmp_path / "lists/test.txt", "Forest_9.tif\n")
    with pytest.raises(UserError, match="1 images without a file: Forest_9"):
        SceneFolder(split="train", **options)
    (tmp_path / "lists/test.txt").unlink()
    with pytest.raises(UserError, match=r"test\.txt does not exist"):
        SceneFolder(split="train", **options)


def test_scene_folders_refuse(tmp_path: Path) -> None:
    root = scenes(tmp_path / "r", ["Forest", "River"], 2)
    (root / ".cache").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "Forest/notes.txt").write_text("x")
    options: dict[str, Any] = {"root": str(root), "split": "train", "name": "toy"}
    assert len(SceneFolder(test_fraction=0.0, val_fraction=0.0, **options)) == 4
    with pytest.raises(UserError, match="Without a folder: sea; without a class: River"):
        SceneFolder(classes=["forest", "sea"], **options)
    with pytest.raises(UserError, match="below 1 together"):
        SceneFolder(test_fraction=0.6, val_fraction=0.4, **options)
    with pytest.raises(UserError, match="does not exist"):
        SceneFolder(images="absent", **options)
    with pytest.raises(UserError, match="holds no class folders"):
        SceneFolder(images="Forest", **options)
    save(root / "forest_/x.jpg")
    for classes in (["forest", "river"], None):
        with pytest.raises(UserError, match="are not its 2 classes, one each"):
            SceneFolder(classes=classes, **options)
    (root / "forest_/x.jpg").unlink()
    (root / "forest_").rmdir()
    save(root / "River/Forest_1.png")
    with pytest.raises(UserError, match="1 images are there twice: Forest_1"):
        SceneFolder(**options)
    (root / "River/Forest_1.png").unlink()
    (root / "River/River_1.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 images are empty files: River_1\.jpg"):
        SceneFolder(**options)
    (root / "Sea").mkdir()
    with pytest.raises(UserError, match="Sea holds no picture"):
        SceneFolder(**options)


def test_class_words() -> None:
    for folder in ("BaseballField", "baseball_field", "baseball-field", "baseball field", "Baseball_Field"):
        assert class_words(folder) == "baseball field"


# --- videos ---


def test_videos_give_frames_evenly_spaced_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    videos(tmp_path, ["Fire_001", "Fire_002"])
    data = reader("capera", tmp_path, "test", frames=4)
    same(data)
    assert data.counts == {"videos": 2, "images": 8, "captions": 3}
    assert [path.name for path in data[0].images] == ["f2.jpg", "f4.jpg", "f7.jpg", "f9.jpg"]  # 1.25, 3.75, 6.25, 8.75
    assert data[0].responses == ("One caption.",) and data[1].directional and data[1].task == "caption"
    every = reader("capera", tmp_path, "test", frames=10)[0].images
    assert [path.name for path in every] == [f"f{i}.jpg" for i in range(1, 11)]
    assert [path.name for path in reader("capera", tmp_path, "test", frames=1)[0].images] == ["f6.jpg"]


def test_videos_of_ones_own_and_held_out_val(tmp_path: Path) -> None:
    names = [f"clip {i}.v2" for i in range(20)]
    videos(tmp_path, names)
    write(tmp_path / "captions_train.json", {name: [f"Clip {name}.", ""] for name in names})
    parts = {split: reader("capera", tmp_path, split) for split in ("train", "val")}
    assert {split: len(data) for split, data in parts.items()} == {"train": 19, "val": 1}
    assert {s.id for data in parts.values() for s in data} == set(names)
    assert parts["val"].unused == {"empty caption": [parts["val"][0].id]}
    assert len(reader("capera", tmp_path, val_fraction=0.0)) == 20


def test_videos_refuse(tmp_path: Path) -> None:
    root = videos(tmp_path, ["a", "b", "c"])
    with pytest.raises(UserError, match=r"3 of 3 videos have less than 12 frames .*a \(10\), b \(10\).*data\.frames=6"):
        reader("capera", root, "test", frames=12)
    with pytest.raises(UserError, match="frames=0"):
        reader("capera", root, "test", frames=0)
    with pytest.raises(UserError, match="Known: test, train"):
        reader("capera", root, "val", val_fraction=0.0)
    with pytest.raises(UserError, match="Make the frames there"):
        reader("capera", root, "test", videos="absent")
    good = {"video_id": "a.mp4", "annotation": {"English_caption": "x"}}
    for content, message in (
        (7, "should be a list or an object"),
        ([{"video_id": "a"}], r"captions_test\.json\[0\]: no key 'annotation'"),
        ([{"video_id": "a", "annotation": {"Arabic_caption": "x"}}], "no key 'English_caption'"),
        ([good, good], "video 'a' is there twice"),
        ([good | {"annotation": {"English_caption": [1]}}], "captions of 'a' should be texts"),
        ([good | {"annotation": {"English_caption": " "}}], "video 'a': no sentence"),
        ([good | {"video_id": ".."}], r"\.\. \(0\)"),
        ([good | {"video_id": "../frames/a.mp4"}], r"\.\./frames/a \(0\)"),
        ([], "holds no video"),
    ):
        write(root / "captions_test.json", content)
        with pytest.raises(UserError, match=message):
            VideoFolder(root=str(root), split="test", name="capera", annotations={"test": "captions_test.json"})

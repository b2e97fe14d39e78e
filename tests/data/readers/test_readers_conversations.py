"""Readers of conversations: GeoChat, SkyEye, TEOChatlas and one's own in LLaVA's form, and broken ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.readers import config, lines, reader, same, write
from support.readers import save as picture
from support.release_conversations import geochat, llava, skyeye, talk, teochat

from rsmoe.data.files.file_names import below
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.conversations import DialogueForm, holds_coordinates, read_dialogue
from rsmoe.data.readers.declared_tasks import DeclaredTasks
from rsmoe.errors import UserError

SIZE = (40, 20)
save = partial(picture, size=SIZE)

# --- conversations ---


def test_dialogues_are_taken_apart() -> None:
    row = {"conversations": talk("<image>\nWhat is it?", "A port.", "And\n<image> here?", "A road.", "Why?")}
    said = read_dialogue(row, DialogueForm(), "here")
    assert said.turns == (("What is it?", "A port."), ("And here?", "A road."))
    assert said.images == 2 and said.unused == ("questions without an answer",)
    empty = read_dialogue({"conversations": talk("<video>", "A port.", "What?", " ")}, DialogueForm(), "here")
    assert empty.turns == () and empty.images == 0 and len(empty.unused) == 2


def test_dialogues_that_are_none() -> None:
    for row, fault in (
        ({"messages": []}, "no key 'conversations'; found 'messages'"),
        ({"conversations": talk("a", "b")[::-1]}, r"conversations\[0\]: expected 'from' to be 'human', found 'gpt'"),
        ({"conversations": [{"from": "system", "value": "x"}]}, "found 'system'; turns have to alternate"),
        ({"conversations": [{"value": "x"}]}, "no key 'from'"),
        ({"conversations": [{"from": "human", "value": 3}]}, "'value' should be str, found int"),
    ):
        with pytest.raises(UserError, match=fault):
            read_dialogue(row, DialogueForm(), "here")
    nameless = {"conversations": [{"value": "a"}, {"from": "gpt", "value": "b"}]}
    assert read_dialogue(nameless, DialogueForm(by_place=True), "here").turns == (("a", "b"),)
    with pytest.raises(UserError, match="found 'human'"):
        read_dialogue(
            {"conversations": [{"value": "a"}, {"from": "human", "value": "b"}]}, DialogueForm(by_place=True), "x"
        )


def test_boxes_in_words_are_seen() -> None:
    for text in ("at [10, 20, 30, 40].", "{<10><20><30><40>|<5>}", "(0.12, 0.5, 0.3, 0.44)", "<p>a</p> {<1><2><3><4>}"):
        assert holds_coordinates(text), text
    for text in ("two [refer] ships", "in 2017, 2018, 2019 and 2020", "(a 3 x 4 grid of 5 by 6)", "[10, 20]", "{}"):
        assert not holds_coordinates(text), text


def test_tasks_are_declared_in_order() -> None:
    declared = DeclaredTasks(tags={"[refer]": "ground"}, key="task", values={"count": ["vqa", "change_vqa"]})

    def task(question: str, images: int = 1, file_task: Any = None, **row: Any) -> tuple[str, str]:
        return declared.of(question, row, images=images, file_task=file_task, where="here")

    assert task("[refer] the ship", task="count") == ("ground", "refer")
    assert task("[Refer] the ship") == ("ground", "refer")
    assert task("How many?", task="count") == ("vqa", "count")
    assert task("How many?", 5, task="count") == ("change_vqa", "count")
    assert task("What?", file_task="caption", task="else") == ("caption", "else")
    for question, row, known in (
        ("[grounding] all", {}, r"the tag \[grounding\].*\(\[grounding\]: ground\)"),
        ("What?", {"task": "size"}, r"task='size'.*\(size: vqa\)"),
        ("What?", {}, "neither a tag nor a task"),
    ):
        with pytest.raises(UserError, match=f"here: no task is declared for a row with {known}"):
            task(question, **row)
    with pytest.raises(UserError, match="unknown task of conversations 'vqaa'. Did you mean 'vqa'"):
        DeclaredTasks(tags={"[vqa]": "vqaa"})
    with pytest.raises(UserError, match="unknown task of conversations 'mask'"):
        DeclaredTasks(values={"seg": "mask"})
    with pytest.raises(UserError, match="expected a task, or two"):
        DeclaredTasks(values={"x": ["vqa"]})


def test_geochat_gives_one_sample_a_turn(tmp_path: Path) -> None:
    data = reader("geochat_instruct", geochat(tmp_path), "train")
    same(data)
    assert [(s.id, s.task, s.kind) for s in data] == [
        ("GeoChat_Instruct:0:0", "vqa", ""),
        ("GeoChat_Instruct:0:1", "vqa", ""),
        ("GeoChat_Instruct:1:0", "ground", "refer"),
        ("GeoChat_Instruct:2:0", "vqa", "identify"),
        ("GeoChat_Instruct:3:0", "ground", "grounding"),
    ]
    assert data[0].instruction == "Is it rural?\nOne word." and data[0].history == ()
    assert data[1].history == (("Is it rural?\nOne word.", "rural"),) and data[1].responses == ("Trees.",)
    assert data[2].instruction == "[refer] the ship" and data[0].meta == {"row_id": "a"}
    assert [s.directional for s in data] == [False, False, True, True, False]
    # 10..30 % of 40 px and 20..60 % of 20 px: 8 x 8 around (8, 8); a quarter turn of a square
    np.testing.assert_allclose(np.abs(data[2].obb_px), [[8, 8, 8, 8, 90]], atol=1e-4)
    np.testing.assert_allclose(data[2].boxes_px, [[4, 4, 12, 12]], atol=1e-4)
    assert data[2].meta["box_convention"] == "geochat_counterclockwise" and data[2].meta["size_px"] == SIZE
    assert data[3].boxes_px is None and data[4].obb_px is None and "holds no box" in data[4].meta["box_failures"][0]
    assert [s.region is None for s in data] == [True, True, True, False, True]
    assert data[3].region.text("geochat_counterclockwise") == "{<0><0><9><9>|<0>}", "words and region are one place"
    assert data.counts == {"images": 2, "conversations": 4, "questions": 5, "vqa": 3, "ground": 2}
    assert data.unused == {"rows without an image": ["GeoChat_Instruct.json, [4]"]}


def test_boxes_are_read_only_under_a_convention(tmp_path: Path) -> None:
    data = reader("geochat_instruct", geochat(tmp_path), "train", boxes=None)
    assert all(s.boxes_px is None and s.obb_px is None and "box_failures" not in s.meta for s in data)
    assert all(s.region is None for s in data)
    turned = reader("geochat_instruct", tmp_path, "train", boxes="geochat_clockwise")
    assert turned[2].obb_px is not None
    wrong = reader("geochat_instruct", tmp_path, "train", boxes="skyeye")
    assert wrong[2].boxes_px is None and "not in its form" in wrong[2].meta["box_failures"][0]
    with pytest.raises(UserError, match="unknown box convention 'geochat'"):
        reader("geochat_instruct", tmp_path, "train", boxes="geochat")


def test_skyeye_reads_its_files_apart(tmp_path: Path) -> None:
    part = config("skyeye_968k")["files"]["train"]
    assert len(part) == 19 and {p["task"] for p in part} == {"caption", "vqa", "ground"}
    data = reader("skyeye_968k", skyeye(tmp_path), "train")
    same(data)
    assert data.counts["questions"] == 19 and data.counts["ground"] == 3 and data.counts["caption"] == 6
    boxes = [s.boxes_px for s in data if s.task == "ground"]
    assert all(b is not None and b.tolist() == [[0, 0, 20, 10]] for b in boxes)
    assert all(s.images[0].parent.name == "x" for s in data)
    few = {"train": [{"path": "vg/DIORvg_train.json", "images": "images/DIOR", "task": "ground"}]}
    assert len(reader("skyeye_968k", tmp_path, "train", files=few)) == 1


def test_teochatlas_sorts_frames_by_their_dates(tmp_path: Path) -> None:
    data = reader("teochatlas", teochat(tmp_path), "train")
    same(data)
    assert [(s.task, s.kind) for s in data] == [
        ("change_vqa", "temporal_scene_classification"),
        ("ground", "change_detection_localization"),
        ("vqa", "scene_classification"),
    ]
    first, second, third = data
    assert [path.stem for path in first.images] == ["early", "mid", "late"]
    assert [m["timestamp"] for m in first.meta["metadata"]] == ["2015-05-03", "2017-5-3", "2019-05-03"]
    assert first.meta["dataset"] == "fMoW" and first.meta["row_id"] == 7
    assert first.instruction == "This is a sequence: Which class is it?"
    assert [path.stem for path in second.images] == ["early", "late"] and "polygon" in second.meta
    assert second.boxes_px is not None and second.boxes_px.tolist() == [[0, 0, 20, 10], [20, 10, 40, 20]]
    assert len(third.images) == 1 and third.boxes_px is None


def test_teochatlas_eval_files(tmp_path: Path) -> None:
    """Paths begin with the folder, and some messages do not say who speaks."""
    save(tmp_path / "eval/External_images/1.png")
    row = {
        "video": ["TEOChatlas/eval/External_images/1.png"],
        "conversations": [{"value": "<video> What?"}, {"value": "a"}],
    }
    for part in config("teochatlas")["files"]["test"]:
        write(tmp_path / part["path"], [row])
    data = reader("teochatlas", tmp_path, "test")
    same(data)
    assert len(data) == 17 and data[0].instruction == "What?" and data[0].task == "vqa"
    with pytest.raises(UserError, match=r"no key 'from'"):
        reader("teochatlas", tmp_path, "test", by_place=False)
    with pytest.raises(UserError, match="TEOChatlas.* does not exist"):
        reader("teochatlas", tmp_path, "test", path_prefix="")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"metadata": [{"timestamp": "2019-05-03"}]}, "1 timestamps for 3 images"),
        ({"metadata": [{"timestamp": "May 2019"}] * 3}, "expected a timestamp 'YYYY-MM-DD'.*May 2019"),
        ({"metadata": [{"timestamp": "2019-05-03"}, {}, {}]}, "expected a timestamp"),
        ({"image": "f/mid.png"}, "more than one of the keys video, image"),
        ({"video": "../../secret.png", "image": None}, "does not lie in"),
        ({"video": [1.5, 2], "image": None}, "expected a path or a list of paths"),
        ({"conversations": talk("<image><image> What?", "a"), "image": None}, "2 times <image> for 3 images"),
    ],
)
def test_teochatlas_refuses(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    save(tmp_path / "secret.png")
    with pytest.raises(UserError, match=message):
        reader("teochatlas", teochat(tmp_path / "release", **more), "train")


def test_rs_gpt4v_and_llava_yamls(tmp_path: Path) -> None:
    rows = [{"id": "1", "image": "a.png", "conversations": talk("<image> What?", "A port.")}]
    assert reader("rs_gpt4v", llava(tmp_path), "test").official["test"]["questions"] == 258419
    own = reader("llava", tmp_path, "test")
    assert [(s.task, len(s.images)) for s in own] == [("vqa", 1), ("change_vqa", 2)]
    same(own)
    several = {"train": [{"path": "a.jsonl", "images": "images"}]}
    lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError, match="a.jsonl, line 1: no task is declared"):
        reader("llava", tmp_path, "train", files=several)
    several["train"][0]["tasks"] = "vqa"
    with pytest.raises(UserError, match="a part of files has path, images and task"):
        reader("llava", tmp_path, "train", files=several)
    write(tmp_path / "train.json", {"rows": []})
    with pytest.raises(UserError, match="expected a list of objects, found dict"):
        reader("llava", tmp_path, "train")
    write(tmp_path / "train.json", [{"image": "a.png", "conversations": talk("What?")}])
    with pytest.raises(
        UserError, match="no answered question in split 'train'; left out: 1 questions without an answer"
    ):
        reader("llava", tmp_path, "train")
    with pytest.raises(UserError, match="Known: test, train, val"):
        reader("llava", tmp_path, "tset")


# --- pictures by path ---


def test_paths_stay_below_the_root(tmp_path: Path) -> None:
    inside = save(tmp_path / "root/a/b.png")
    save(tmp_path / "secret.png")
    save(tmp_path / "root2/c.png")
    root = tmp_path / "root"
    names = ["a/b.png", "a/./b.tif", str(inside)]
    assert find_images(root, names, source="s", flat=False) == dict.fromkeys(names, inside)
    assert below(root, "a\\b.png", source="s") == inside
    for name in ("../secret.png", "a/../../secret.png", str(tmp_path / "secret.png"), "../root2/c.png", "", " ", "."):
        with pytest.raises(UserError, match="s: .* does not lie in"):
            find_images(root, [name], source="s", flat=False)
    with pytest.raises(UserError, match="the images folder .*nowhere does not exist"):
        find_images(root, ["nowhere/b.png"], source="s", flat=False)

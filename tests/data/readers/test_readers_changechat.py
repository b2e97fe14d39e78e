"""ChangeChat: its tasks, its dialogues, and rows that are broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.readers import check_pairs, reader, write
from support.release_change import CAPTION, DIALOGUE, NEW, PRESENCE, changechat, edit, record

from rsmoe.errors import UserError


def test_changechat_train_is_sorted_by_its_fixed_questions(tmp_path: Path) -> None:
    data = reader("changechat", changechat(tmp_path), split="train")
    same, new, presence, count, unread, location, free, *turns = check_pairs(data)
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
    samples = check_pairs(data)
    assert [s.kind for s in samples] == ["changed", "presence", "count", "location", "open", *["dialogue"] * 3]
    assert samples[0].responses == NEW and samples[2].meta["change_counts"] == {"road": 0, "building": 0}
    assert data.unused == {} and data.counts["turns"] == 8
    one = reader("changechat", tmp_path / "changechat", split="test", kinds=["location"])
    assert [s.kind for s in check_pairs(one)] == ["location"]
    assert [
        s.meta["asks"]
        for s in check_pairs(reader("changechat", tmp_path / "changechat", split="train", kinds=["open"]))
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

"""Objects of large pictures in VOC's xml, in tiles of parts of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.readers import save
from support.release_objects import voc

from rsmoe.data.readers.voc_tiles import VOCTiles
from rsmoe.errors import UserError

TREES = ("Tree", (10, 10, 30, 50)), ("Tree", (45, 20, 85, 60)), ("Tree", (150, 20, 190, 60))


def made(root: Path, *objects: Any, size: tuple[int, int] = (200, 100), **more: Any) -> VOCTiles:
    save(root / "a.tif", size=size)
    (root / "a.xml").write_text(voc("a.tif", (200, 100), *objects))
    given = {"parts": {"train": [0, 0, 0.5, 1], "test": [0.5, 0, 1, 1]}, "tile_px": 60, "overlap": 0.2} | more
    return VOCTiles(root=str(root), name="a", annotations=["a.xml"], **({"split": "train"} | given))


def test_tiles_of_one_half_hold_its_objects_alone(tmp_path: Path) -> None:
    reader = made(tmp_path, *TREES)
    assert [sample.images[0].window for sample in reader] == [
        (0, 0, 60, 60), (40, 0, 60, 60), (0, 40, 60, 60), (40, 40, 60, 60),
    ]  # fmt: skip
    first, second = reader[0], reader[1]
    assert first.instruction == "Mark every tree." and first.responses == ("every tree [SEG]",)
    assert first.boxes_px.tolist() == [[10, 10, 30, 50]]  # the second is in it by less than half
    assert second.boxes_px.tolist() == [[5, 20, 45, 60]] and first.images[0].read().shape == (60, 60, 3)
    mask = np.asarray(first.mask)
    assert mask.shape == (60, 60) and mask[30, 20] and not mask[11, 11] and mask[40, 58]
    assert mask[:, :30].sum() == pytest.approx(np.pi * 10 * 20, rel=0.03)
    small = np.asarray(made(tmp_path, *TREES, fill=0.5)[0].mask)
    assert small[:, :30].sum() == pytest.approx(np.pi * 5 * 10, rel=0.05)
    test = made(tmp_path, *TREES, split="test")
    assert {sample.images[0].window[0] for sample in test} == {100, 140}
    assert [len(sample.boxes_px) for sample in test] == [0, 1, 0, 1]


def test_what_is_no_such_release_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no <object>"):
        made(tmp_path)
    with pytest.raises(UserError, match="split"):
        made(tmp_path, *TREES, split="val")
    with pytest.raises(UserError, match="size"):
        made(tmp_path, *TREES, size=(100, 100))
    (tmp_path / "b.xml").write_text("<annotation>")
    with pytest.raises(UserError, match="is not xml"):
        VOCTiles(root=str(tmp_path), name="a", annotations=["b.xml"], split="train",
                 parts={"train": [0, 0, 1, 1]}, tile_px=60)  # fmt: skip

"""What the tests of readers share: tiny releases are written with it, and read as a user reads them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from rsmoe.config import conf_dir
from rsmoe.data.rasters.images import images_key, load_image, read_array
from rsmoe.data.sample import Sample
from rsmoe.parts import instantiate


def save(path: Path, value: int = 90, mode: str = "RGB", size: tuple[int, int] = (12, 8)) -> Path:
    """A picture of one colour; ``size`` is (width, height), not square, so that mixed-up axes are seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode in ("L", "I;16") else (value,) * len(mode)).save(path)
    return path


def write(path: Path, content: Any) -> Path:
    """A text as it is, anything else as json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lines(path: Path, rows: list[Any]) -> Path:
    """One json a line; texts as they are."""
    return write(path, "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def config(name: str) -> dict[str, Any]:
    """The yaml of a data set."""
    return yaml.safe_load((conf_dir() / "data" / f"{name}.yaml").read_text())


def reader(name: str, root: Path | None, split: str = "train", **more: Any) -> Any:
    """The data set of a yaml, on a release in ``root``; None means the real one."""
    return instantiate({**config(name), "root": None if root is None else str(root), **more}, split=split)


def same(data: Any) -> None:
    """What every reader promises."""
    samples = [data[i] for i in range(len(data))]
    assert len(samples) == len({s.id for s in samples}) > 0
    assert all(s.source == data.name and s.instruction and s.responses and all(s.responses) for s in samples)
    again = [data[i] for i in range(len(data))]
    assert [(s.id, s.responses, images_key(s)) for s in samples] == [(s.id, s.responses, images_key(s)) for s in again]
    assert all(type(n) is int for n in data.counts.values()) and data.protocol == ""
    assert all(type(n) is int for counts in data.official.values() for n in counts.values())
    assert all(isinstance(r, str) and ids for r, ids in data.unused.items())
    assert all(image.is_file() for s in samples for image in s.images if isinstance(image, Path))
    assert pickle.loads(pickle.dumps(data))[0].id == samples[0].id  # loader workers get a copy


def check_masks(data: Any) -> list[Sample]:
    """What holds for every reader with masks, whatever the number of dates: its samples."""
    samples = [data[i] for i in range(len(data))]
    assert len({s.id for s in samples}) == len(samples) == len(data) > 0
    assert data.protocol == "" and all(isinstance(n, int) for n in data.counts.values())
    assert isinstance(data.unused, dict) and isinstance(data.official, dict)
    for sample in samples:
        assert sample.source == data.name and (sample.task == "mask" or sample.mask is None)
        assert all(r.count("[SEG]") == (len(sample.masks) or sample.task == "mask") for r in sample.responses)
        for part, dtype in ((sample.mask, bool), (sample.class_map, np.uint8)):
            if part is not None:
                array = read_array(part)
                assert array.dtype == dtype and array.shape == load_image(sample.images[0]).shape[:2]
        json.dumps(sample.meta)  # shards keep it
    again = pickle.loads(pickle.dumps(data))
    assert [again[i].id for i in range(len(again))] == [s.id for s in samples]
    return samples


def check_pairs(data: Any) -> list[Sample]:
    """`check_masks`, and what holds for every reader of pairs."""
    samples = check_masks(data)
    for sample in samples:
        assert len(sample.images) == 2 and (sample.mask is not None) == (sample.task == "mask")
        if sample.class_map is not None:
            assert set(np.unique(read_array(sample.class_map))) <= {*range(len(sample.classes)), 255}
    return samples

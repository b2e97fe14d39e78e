"""What the tests of readers share: tiny releases are written with it, and read as a user reads them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from rsmoe.config import conf_dir, instantiate
from rsmoe.data.images import images_key


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

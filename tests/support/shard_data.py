"""Small data sets of pictures on disk, for the tests of shards and streams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from rsmoe.data.sample import Sample
from rsmoe.data.shards.index import Shards
from rsmoe.data.shards.writer import write_shards


class Listed(Dataset[Sample]):
    """Samples from a list."""

    protocol = "generated/"
    counts: ClassVar = {"images": 3}
    official: ClassVar = {"train": {"images": 3}}

    def __init__(self, samples: Sequence[Sample], *, name: str = "toy", split: str = "train") -> None:
        self.samples, self.name, self.split = list(samples), name, split

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def picture(path: Path, value: int, size: tuple[int, int] = (12, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value % 256, value // 256, 7)).save(path)
    return path


def sample(identity: str, *images: Any, **more: Any) -> Sample:
    fields = {"instruction": "What is it?", "responses": ("A field.",), "task": "caption", "source": "toy"} | more
    return Sample(id=identity, images=images, **fields)


def toy(root: Path, count: int, *, questions: int = 1, name: str = "toy") -> Listed:
    """``count`` pictures with so many questions each, the questions of a picture far apart."""
    files = [picture(root / f"{name}-{i}.png", i) for i in range(count)]
    return Listed(
        [
            sample(f"{name}{i}.{q}", files[i], responses=(f"It is {i}.", f"Number {i}."), source=name)
            for q in range(questions)
            for i in range(count)
        ],
        name=name,
    )


def shards_of(dataset: Listed, out: Path, **more: Any) -> Shards:
    return write_shards(dataset=dataset, out=out, source={"of": dataset.name}, **({"shard_size": 5} | more))


def value_of(image: np.ndarray) -> int:
    """The number that `picture` painted."""
    return int(image[0, 0, 0]) + 256 * int(image[0, 0, 1])

"""Training pictures a second, read, decoded, augmented and normalised: ``python -m rsmoe.timings.augmenting``.

Both ways make the same of the same files, in random order, through a ``DataLoader`` with workers: a crop of 70 % of the
area or more, one of eight flips and quarter turns, brightness and contrast, normalised float pixels of one size.

- plain: a ``Dataset`` that opens each file with Pillow, and torch's operations on float pixels;
- rsmoe: `Collate` of a training, which encodes instruction and answer beside, and keeps decoded pictures in memory.

The first pass decodes every picture; further passes find it in memory, as long as ``cache_bytes`` are enough. Printed
are pictures a second of processor time, of all processes. Needs $RSMOE_DATA.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset

from rsmoe.config import conf_dir
from rsmoe.data.collate import Collate
from rsmoe.data.text_codec import TextCodec
from rsmoe.parts import instantiate

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
BATCH = 32


class Plain(Dataset[Tensor]):
    """What one writes without a library for it."""

    def __init__(self, paths: Sequence[Path], *, side: int) -> None:
        self.paths, self.side = paths, side
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        pixels = torch.from_numpy(np.array(Image.open(self.paths[index]).convert("RGB"))).permute(2, 0, 1) / 255
        share = float(torch.empty(()).uniform_(0.7, 1.0)) ** 0.5
        height, width = (round(share * side) for side in pixels.shape[1:])
        top = int(torch.randint(pixels.shape[1] - height + 1, ()))
        left = int(torch.randint(pixels.shape[2] - width + 1, ()))
        cut = pixels[None, :, top : top + height, left : left + width]
        x = F.interpolate(cut, (self.side, self.side), mode="bilinear", antialias=True)[0]
        x = torch.rot90(x, int(torch.randint(4, ())), (1, 2))
        x = x.flip(2) if torch.rand(()) < 0.5 else x
        x = x * torch.empty(()).uniform_(0.8, 1.2)
        x = (x - x.mean()) * torch.empty(()).uniform_(0.8, 1.2) + x.mean()
        return (x.clamp(0, 1) - self.mean) / self.std


class Numbered(Dataset[Any]):
    """Samples with a seed each, as a training draws them."""

    def __init__(self, samples: Dataset[Any], passes: int) -> None:
        self.samples, self.passes = samples, passes

    def __len__(self) -> int:
        return len(self.samples) * self.passes  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.samples[index % len(self.samples)], index  # type: ignore[arg-type]


def seconds(make: Callable[[int], DataLoader[Any]], *, passes: int) -> float:
    """Of processors, this one and the workers, for so many passes."""
    before = sum(os.times()[:4])
    for _ in make(passes):
        pass
    return sum(os.times()[:4]) - before


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="rsicd", help="a name of conf/data")
    for name, value in {"pictures": 512, "side": 224, "workers": 2, "passes": 4, "repetitions": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(1)
    every = instantiate(OmegaConf.load(conf_dir() / "data" / f"{given.data}.yaml"), split="train")
    samples = Subset(every, range(given.pictures))
    codec = TextCodec.fit(
        text for i in range(given.pictures) for text in (samples[i].instruction, *samples[i].responses)
    )
    paths = [Path(str(samples[i].images[0])) for i in range(given.pictures)]
    collate = Collate(
        codec=codec, instruction_codec=codec, image_size=given.side, mean=MEAN, std=STD, augment=True
    )  # fmt: skip

    def plain(passes: int) -> DataLoader[Any]:
        data = Plain(paths * passes, side=given.side)
        return DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=given.workers)

    def ours(passes: int) -> DataLoader[Any]:
        # pass after pass, so that the first meets every picture once; each worker has a memory of its own
        order = [turn * given.pictures + i for turn in range(passes) for i in torch.randperm(given.pictures).tolist()]
        data = Numbered(samples, passes)
        return DataLoader(data, batch_size=BATCH, sampler=order, num_workers=given.workers, collate_fn=collate)

    found: dict[str, list[tuple[float, float]]] = {"plain": [], "rsmoe": []}
    for _ in range(given.repetitions):
        for name, way in {"plain": plain, "rsmoe": ours}.items():
            first = seconds(way, passes=1)
            more = (seconds(way, passes=given.passes) - first) / (given.passes - 1)
            found[name].append((first, more))
    rates = {n: [given.pictures / median(times) for times in zip(*each, strict=True)] for n, each in found.items()}
    table = Table(
        "", "first pass", "x", "further passes", "x", title=f"{given.pictures} of {given.data}, {given.side} px"
    )
    for name, (first, more) in rates.items():
        ratios = [f"{own / base:.2f}" for own, base in zip((first, more), rates["plain"], strict=True)]
        table.add_row(name, f"{first:.0f}", ratios[0], f"{more:.0f}", ratios[1])
    Console().print(table)


if __name__ == "__main__":
    main()

"""Samples a second out of files and out of shards: ``python -m rsmoe.timings.loading [--data ucm_captions]``.

Each way decodes the same pictures in random order to (3, side, side) uint8 and stacks them to batches:

- plain: a PyTorch ``Dataset`` that opens each file with Pillow; what the others are divided by;
- files: this library's reader and `load_image`;
- shards: the same through `ShardDataset`; stream: the same through `Stream`;
- raw, raw stream: both out of shards written with ``pixels=raw``.

"read" is the bytes alone, without decoding; "decode" is all of it. It ends with `resize`, the same for all, which costs
more than the JPEG of a small picture: a ``--side`` that the pictures have already leaves it out. "requests" are 20 on
each picture: plain decodes it for each, a stream with ``per_view`` once for all that come together. The ways take
turns. Printed are medians: samples a second relative to plain, and in brackets the processor time of a sample in ms,
which other work disturbs less; at the end the bytes of a picture.

Without ``--data`` the pictures are generated scenes, cut and turned, as JPEG.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
from torch.utils.data import DataLoader, Dataset, RandomSampler

from rsmoe.config import conf_dir
from rsmoe.data.rasters.images import load_image
from rsmoe.data.sample import Sample
from rsmoe.data.shards.dataset import ShardDataset
from rsmoe.data.shards.index import open_shards
from rsmoe.data.shards.member import ShardMember
from rsmoe.data.shards.stream import Stream
from rsmoe.data.shards.writer import write_shards
from rsmoe.data.transforms.transforms import resize
from rsmoe.parts import instantiate
from rsmoe.scenes.generator import SceneGenerator

BATCH = 32
"""Requests a batch."""
PER_VIEW = 8
"""Requests a picture."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of a way of loading."""

    rate: float
    """Samples a second."""
    cpu_ms: float
    """Processor time of a sample."""


class Plain(Dataset[Tensor]):
    """The usual loader: a list of files, opened by name."""

    def __init__(self, paths: Sequence[Path], *, side: int, decode: bool) -> None:
        self.paths, self.side, self.decode = paths, side, decode

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        if not self.decode:
            return torch.tensor(len(self.paths[index].read_bytes()))
        return resize(np.array(Image.open(self.paths[index]).convert("RGB")), self.side)


class Pictures(Dataset[Sample]):
    """Pictures in a folder, with so many requests on each."""

    name, split, protocol = "pictures", "train", "generated/"

    def __init__(self, paths: Sequence[Path], *, requests: int = 1) -> None:
        self.samples = [
            Sample(id=f"{i}.{q}", images=(p,), instruction="?", responses=("!",), task="vqa", source=self.name)
            for q in range(requests)
            for i, p in enumerate(paths)
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def batch(samples: Iterable[Sample], *, side: int, decode: bool) -> Tensor:
    """(B, 3, side, side) uint8, each picture decoded once; or the number of bytes of each."""
    made: dict[int, Tensor] = {}
    for sample in samples:
        image = sample.images[0]
        if id(image) in made:
            continue
        if decode:
            made[id(image)] = resize(load_image(image), side)
        else:
            content = image.content() if isinstance(image, ShardMember) else Path(str(image)).read_bytes()
            made[id(image)] = torch.tensor(len(content))
    return torch.stack(list(made.values()))


def _of_pairs(pairs: Sequence[tuple[Sample, int]], *, side: int, decode: bool) -> Tensor:
    return batch((sample for sample, _ in pairs), side=side, decode=decode)


def generated(folder: Path, count: int, side: int) -> list[Path]:
    """So many JPEG files, out of a few scenes of twice the size."""
    scenes = [SceneGenerator(size_px=2 * side, bands=3, seed=0).scene(i).image for i in range(12)]
    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        y, x = rng.integers(0, side, 2)
        cut = np.rot90(scenes[i % len(scenes)][y : y + side, x : x + side], i % 4)
        paths.append(folder / f"{i:06d}.jpg")
        Image.fromarray(np.ascontiguousarray(cut)).save(paths[-1], quality=90)
    return paths


def in_turns(ways: dict[str, Callable[[], Iterable[Tensor]]], *, samples: int, repetitions: int) -> dict[str, Cost]:
    """What a sample of each way costs."""
    walls: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            wall, processor = time.perf_counter(), sum(os.times()[:4])  # of this process and of workers that ended
            for _ in way():
                pass
            walls[name].append(time.perf_counter() - wall)
            spent[name].append(sum(os.times()[:4]) - processor)
    return {n: Cost(rate=samples / median(walls[n]), cpu_ms=1e3 * median(spent[n]) / samples) for n in ways}


def ways_of(
    paths: Sequence[Path], folder: Path, *, samples: int, side: int, workers: int, decode: bool
) -> dict[str, Callable[[], Iterable[Tensor]]]:
    """So many samples of each way, out of the shards "shards", "raw" and "requests" in the folder."""
    one = partial(batch, side=side, decode=decode)
    pairs = partial(_of_pairs, side=side, decode=decode)

    def loaded(data: Dataset[Any], collate: Callable[..., Tensor] | None = one) -> DataLoader[Any]:
        sampler = RandomSampler(data, num_samples=samples)  # type: ignore[arg-type]
        return DataLoader(data, batch_size=BATCH, sampler=sampler, collate_fn=collate, num_workers=workers)

    def stream(of: str, per_view: int = 1) -> Iterator[Tensor]:
        data = open_shards(str(folder / of), "train")
        steps = samples // per_view // BATCH
        draws = Stream(shards={"a": data}, batch_size=BATCH, steps=steps, buffer=1000, per_view=per_view, check=decode)
        return iter(DataLoader(draws, batch_size=None, collate_fn=pairs, num_workers=workers))

    return {
        "plain": lambda: loaded(Plain(paths, side=side, decode=decode), None),
        "files": lambda: loaded(Pictures(paths)),
        "shards": lambda: loaded(ShardDataset(root=f"{folder}/shards", split="train")),
        "stream": lambda: stream("shards"),
        "raw": lambda: loaded(ShardDataset(root=f"{folder}/raw", split="train")),
        "raw stream": lambda: stream("raw"),
        **({"requests": lambda: stream("requests", PER_VIEW)} if decode else {}),
    }


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a name of conf/data, whose training pictures are taken")
    for name, value in {"images": 1000, "side": 256, "repetitions": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--samples", type=int, help="drawn in a turn; as many as pictures by default")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if given.data:
            reader = instantiate(OmegaConf.load(conf_dir() / "data" / f"{given.data}.yaml"), split="train")
            found = dict.fromkeys(Path(str(reader[i].images[0])) for i in range(len(reader)))
            paths = list(found)[: given.images]
        else:
            paths = generated(folder, given.images, given.side)
        shards = {
            name: write_shards(dataset=Pictures(paths, requests=n), out=folder / name, source={}, pixels=p, check=False)
            for name, n, p in (("shards", 1, "encoded"), ("raw", 1, "raw"), ("requests", 20, "encoded"))
        }
        names = ("files", "shards", "stream", "raw", "raw stream", "requests")
        table = Table("workers", "", "plain [1/s]", *names, title=f"{len(paths)} pictures")
        samples = -(-(given.samples or len(paths)) // (BATCH * PER_VIEW)) * BATCH * PER_VIEW  # whole batches of each
        for workers in given.workers:
            for decode in (False, True):
                ways = ways_of(paths, folder, samples=samples, side=given.side, workers=workers, decode=decode)
                costs = in_turns(ways, samples=samples, repetitions=given.repetitions)
                plain = costs["plain"].rate
                cells = [f"{c.rate / plain:.2f} ({c.cpu_ms:.2f})" for n, c in costs.items() if n != "plain"]
                what = "decode" if decode else "read"
                table.add_row(str(workers), what, f"{plain:.0f} ({costs['plain'].cpu_ms:.2f})", *cells)
        console = Console()
        console.print(table)
        sizes = {"files": sum(path.stat().st_size for path in paths)}
        sizes |= {name: sum(shard.size for shard in shards[name].shards) for name in ("shards", "raw")}
        console.print(", ".join(f"{n}: {size / len(paths) / 1e3:.1f} kB a picture" for n, size in sizes.items()))


if __name__ == "__main__":
    main()

"""Land cover by names: an aggregation that is trained on all classes of Dubai but one, beside names against features.

``python -m rsmoe.studies.open_vocabulary runs/clip_ucm_rsicd/... --out maps.npz`` leaves out each class and each tile
in turn: what is drawn of a tile has seen neither the tile nor a pixel of the class. ``--save open.safetensors`` trains
on everything instead, for `rsmoe.commands.segment`.
"""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from rsmoe.contrast.cost_aggregation import CostAggregation
from rsmoe.contrast.open_names import OpenNames
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.readers.semantic_masks import SemanticMasks
from rsmoe.data.sample import Sample
from rsmoe.data.transforms.random_window import random_window
from rsmoe.data.transforms.symmetries import turn_image
from rsmoe.evaluation.map_tiles import draw_tiles
from rsmoe.evaluation.open_map import SIDE, OpenMap, save_aggregation
from rsmoe.figures.class_colours import class_colours
from rsmoe.geo.dates import Dates
from rsmoe.metrics.regions.class_map_iou import class_map_tally, confusion

NAMES = {
    "building": ["building", "buildings", "houses"],
    "unpaved land": ["bare land", "bareland", "desert", "sand"],
    "road": ["road", "roads", "highway"],
    "vegetation": ["vegetation", "trees", "grass", "green plants"],
    "water": ["water", "sea", "lake", "river"],
}
"""Classes of the data, with words of RSICD's captions."""
COLOURS = {
    "building": "#3C1098",
    "unpaved land": "#8429F6",
    "road": "#6EC1E4",
    "vegetation": "#FEDD3A",
    "water": "#E2A929",
}
_WINDOWS, _SIDES = 12, (150, 450)
_STEPS, _BATCH, _RATE = 150, 6, 2e-3
_DRAWS, _PANEL = 2000, 240
SHOWN = 4
"""The class that was left out of the maps that are shown: water."""


class SeenOnce(OpenNames):
    """Towers that look at the same pixels once."""

    known: dict[bytes, tuple[Tensor, tuple[Tensor, ...]]]

    def cells(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `OpenNames.cells`."""
        self.__dict__.setdefault("known", {})
        key = hashlib.blake2b(pixels.contiguous().numpy().tobytes()).digest()
        if key not in self.known:
            self.known[key] = super().cells(pixels)
        return self.known[key]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of the pictures of one tile, as the towers see them."""

    cells: Tensor
    pyramid: tuple[Tensor, ...]
    classes: Tensor
    """(n, H, W) long of the finest level."""


def pictures(tile: int, root: str | None) -> list[Sample]:
    """The pictures of a tile with their class maps."""
    data = SemanticMasks(
        root=root, split="all", name="dubai_segmentation", images={"all": f"Tile {tile}/images/*.jpg"},
        to_map={"images/": "masks/", ".jpg": ".png"}, classes=COLOURS, ignore=["#9B9B9B", "#000000"],
    )  # fmt: skip
    return [data[i] for i in range(len(data))]


def windows_of(samples: Sequence[Sample], asked: OpenMap, *, seed: int) -> Windows:
    """`_WINDOWS` random windows of each picture, turned, in other lights."""
    generator = torch.Generator().manual_seed(seed)
    cells, levels, classes = [], [], []
    for sample in samples:
        image = torch.from_numpy(load_image(sample.images[0])).permute(2, 0, 1)
        assert sample.class_map is not None
        truth = torch.from_numpy(np.ascontiguousarray(read_array(sample.class_map)))
        shown, known = [], []
        for _ in range(_WINDOWS):
            (cut,), (own,) = random_window([image], [truth], sides=_SIDES, size=SIDE, generator=generator)
            assert own is not None
            symmetry = int(torch.randint(8, (), generator=generator))
            brightness, contrast = (1 + 0.3 * (2 * torch.rand(2, generator=generator) - 1)).tolist()
            pixels = turn_image(cut, symmetry).float()
            shown.append((pixels * contrast + pixels.mean() * (brightness - contrast)).clamp(0, 255))
            known.append(turn_image(own, symmetry))
        found, pyramid = asked.opened.cells(asked.collate.transform.normalised(torch.stack(shown)))
        cells.append(found)
        levels.append(pyramid)
        small = F.interpolate(torch.stack(known)[:, None].float(), size=pyramid[0].shape[-2:], mode="nearest-exact")
        classes.append(small[:, 0].long())
    joined = tuple(torch.cat(level) for level in zip(*levels, strict=True))
    return Windows(cells=torch.cat(cells).clone(), pyramid=joined, classes=torch.cat(classes))


def train(parts: Sequence[Windows], names: Tensor, *, left_out: int | None, seed: int) -> CostAggregation:
    """An aggregation of the windows; pixels of the class that is left out teach nothing, and its name is not read."""
    torch.manual_seed(seed)
    drawn = np.random.default_rng(seed)
    cells = torch.cat([part.cells for part in parts]).clone()
    pyramid = tuple(torch.cat(level).clone() for level in zip(*(part.pyramid for part in parts), strict=True))
    classes = torch.cat([part.classes for part in parts])
    seen = [k for k in range(len(names)) if k != left_out]
    target = torch.full_like(classes, UNKNOWN)
    for place, k in enumerate(seen):
        target[classes == k] = place
    made = CostAggregation(dim=names.shape[1], pyramid_widths=[level.shape[1] for level in pyramid])
    made.fit(cells, pyramid)
    costs = made.costs(cells, names[seen].clone())
    optimizer = torch.optim.AdamW(made.parameters(), lr=_RATE, weight_decay=0.05)
    for step in range(_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / _STEPS))
        rows = torch.from_numpy(drawn.choice(len(cells), _BATCH, replace=False))
        logits, truth = made(costs[rows], [level[rows] for level in pyramid]), target[rows]
        sizes = torch.bincount(truth[truth != UNKNOWN], minlength=len(seen)).clamp_min(50).float()
        loss = F.cross_entropy(logits, truth, ignore_index=UNKNOWN, weight=sizes.rsqrt())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
    return made.eval()


def drawn_map(asked: OpenMap, sample: Sample) -> np.ndarray:
    """(H, W) uint8 of a picture."""
    image = load_image(sample.images[0])
    dates = Dates(images=(image,), valid=np.ones(image.shape[:2], bool), georeference=None, notes=())
    return np.asarray(draw_tiles(asked, asked.look, asked.collate, dates, tile_px=SIDE, title="").kinds)


def strip_of(asked: OpenMap, sample: Sample) -> np.ndarray:
    """(h, w, 3) uint8: the picture, its true map, names against features, and the map of the aggregation."""
    assert sample.class_map is not None
    asked.trained = False
    maps = [read_array(sample.class_map), drawn_map(asked, sample)]
    asked.trained = True
    maps.append(drawn_map(asked, sample))
    table = np.full((256, 3), 255, np.uint8)
    table[: len(NAMES)] = [list(bytes.fromhex(colour[1:])) for colour in class_colours(list(NAMES))]
    panels = [load_image(sample.images[0]), *(table[drawn] for drawn in maps)]
    return np.concatenate([np.asarray(Image.fromarray(panel).resize((_PANEL, _PANEL))) for panel in panels], axis=1)


def row_of(said: np.ndarray, sample: Sample) -> np.ndarray:
    """A row of `class_map_tally`."""
    assert sample.class_map is not None
    return np.array([1.0, 0.0, *confusion(said, read_array(sample.class_map), len(NAMES)).ravel()])


def scores(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics, x100, of rows (n, k), or of n draws of them (d, n, k)."""
    tally = class_map_tally(rows.reshape(-1, rows.shape[-1]), list(NAMES))
    return {name: 100 * value for name, value in tally.finish(rows.sum(-2)).items()}


def interval(better: np.ndarray, worse: np.ndarray, key: str) -> str:
    """Difference of two metrics of the same pictures, and its 95 % interval over draws of them."""
    places = np.random.default_rng(0).integers(0, len(better), (_DRAWS, len(better)))
    apart = scores(better[places])[key] - scores(worse[places])[key]
    low, high = np.nanquantile(apart, (0.025, 0.975))
    return f"{scores(better)[key] - scores(worse)[key]:+.1f} [{low:.1f}, {high:.1f}]"


def unseen(base: np.ndarray, found: Mapping[int | None, np.ndarray]) -> str:
    """Mean IoU of the classes that were left out, in turn: names against features, aggregated, and the difference."""
    places = np.random.default_rng(0).integers(0, len(base), (_DRAWS, len(base)))
    keys = {k: f"iou/{name}" for k, name in enumerate(NAMES)}
    means = [np.mean([scores(rows[k])[keys[k]] for k in keys]) for rows in ({k: base for k in keys}, found)]
    apart = np.mean([scores(found[k][places])[keys[k]] - scores(base[places])[keys[k]] for k in keys], axis=0)
    low, high = np.nanquantile(apart, (0.025, 0.975))
    return f"{means[0]:.1f}, {means[1]:.1f}, {means[1] - means[0]:+.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    """Leaves out every class and tile in turn, or trains on everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--root", help="of dubai_segmentation; default: $RSMOE_DATA/dubai_segmentation")
    parser.add_argument("--tiles", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, help="an .npz with the confusion matrices of every picture, and a .jpg of maps"
    )
    parser.add_argument("--save", type=Path, help="train on all tiles and classes, and write the aggregation here")
    given = parser.parse_args()
    console, opened = Console(), SeenOnce.open(given.checkpoint, device="cpu")
    free = OpenMap(opened=opened, names=NAMES)
    samples = {tile: pictures(tile, given.root) for tile in given.tiles}
    windows = {tile: windows_of(samples[tile], free, seed=given.seed + tile) for tile in given.tiles}
    if given.save is not None:
        save_aggregation(
            given.save, train(list(windows.values()), free.embedded, left_out=None, seed=given.seed), opened
        )
        console.print(f"written to {given.save}")
        return
    plain: list[np.ndarray] = []
    shown: list[np.ndarray] = []
    ours: dict[int | None, list[np.ndarray]] = {k: [] for k in (*range(len(NAMES)), None)}
    for tile in given.tiles:
        others = [windows[other] for other in given.tiles if other != tile]
        for left_out, rows in ours.items():
            made = train(others, free.embedded, left_out=left_out, seed=given.seed)
            asked = OpenMap(opened=opened, names=NAMES, aggregation=made)
            if left_out is None:  # the same statistics, without what is learned
                asked.trained = False
                plain += [row_of(drawn_map(asked, sample), sample) for sample in samples[tile]]
                asked.trained = True
            rows += [row_of(drawn_map(asked, sample), sample) for sample in samples[tile]]
            if left_out == SHOWN:
                shown.append(strip_of(asked, samples[tile][len(samples[tile]) // 2]))
        console.print(f"tile {tile} done")
    base = np.stack(plain)
    found = {k: np.stack(rows) for k, rows in ours.items()}
    if given.out is not None:
        Image.fromarray(np.concatenate(shown)).save(given.out.with_suffix(".jpg"), quality=88)
        np.savez(given.out, allow_pickle=False, free=base, **{str(k): rows for k, rows in found.items()})
    table = Table("left out", "IoU, names x features", "IoU, aggregated", "difference", "mIoU of all", "difference")
    for k, name in enumerate(NAMES):
        key = f"iou/{name}"
        table.add_row(
            name, f"{scores(base)[key]:.1f}", f"{scores(found[k])[key]:.1f}", interval(found[k], base, key),
            f"{scores(found[k])['miou']:.1f}", interval(found[k], base, "miou"),
        )  # fmt: skip
    nothing = found[None]
    table.add_row("nothing", "", "", "", f"{scores(nothing)['miou']:.1f}", interval(nothing, base, "miou"))
    console.print(table)
    console.print(f"names x features: mIoU {scores(base)['miou']:.1f}", highlight=False)
    console.print(f"IoU of what is left out, mean of {len(NAMES)}: {unseen(base, found)}", highlight=False)


if __name__ == "__main__":
    main()

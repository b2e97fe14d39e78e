"""Semantic localisation on generated mosaics, beside a map that reads no word.

``python -m rsmoe.studies.localisation runs/clip_scenes/... --split val`` prints the means of the four indicators, and
the paired interval of the difference of Rmi (percentiles of 2,000 draws over mosaics).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from rsmoe.archive.heat_map import averaged, heat_map, tiles_of
from rsmoe.archive.open_embedder import open_embedder
from rsmoe.figures.heat_sheet import plot_heat
from rsmoe.metrics.regions.localisation import PROTOCOL, Localisation, localisation
from rsmoe.scenes.mosaic import mosaic

_SIZE_PX = 96
_DRAWS = 2000
_SHOWN = 4


def saliency(picture: np.ndarray, *, sides: Sequence[int]) -> np.ndarray:
    """(H, W) float32, 0 to 1: the spectral residual (Hou and Zhang, CVPR 2007), in tiles as a map of a sentence.

    What is left of the log spectrum of a picture of 64 px after the mean of 3 x 3, back in the picture, squared and
    blurred: what differs from its surroundings, whatever was asked.
    """
    grey = picture[..., :3].mean(-1)
    small = ndimage.zoom(grey, (64 / grey.shape[0], 64 / grey.shape[1]), order=1)
    spectrum = np.fft.fft2(small)
    log = np.log(np.abs(spectrum) + 1e-9)
    residual = log - ndimage.uniform_filter(log, size=3, mode="wrap")
    found = ndimage.gaussian_filter(np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2, 2.5)
    full = ndimage.zoom(found, (grey.shape[0] / 64, grey.shape[1] / 64), order=1)
    windows = tiles_of(grey.shape, sides)
    scores = np.array([full[own].mean() for own in windows])
    return averaged(windows, scores, shape=grey.shape, side=min(sides))


def paired_interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean difference over n mosaics."""
    drawn = np.random.default_rng(0).integers(0, len(differences), (_DRAWS, len(differences)))
    low, high = np.quantile(differences[drawn].mean(1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Measures one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--split", default="val", choices=("val", "test"))
    parser.add_argument("--mosaics", type=int, default=100)
    parser.add_argument("--sides", type=int, nargs="+", default=[96, 144, 192])
    parser.add_argument("--out", type=Path, help="a PNG with the first maps")
    given = parser.parse_args()
    embedder = open_embedder(given.checkpoint, device="auto")
    asked = [mosaic(given.split, number, size_px=_SIZE_PX) for number in range(given.mosaics)]
    maps = {
        Path(given.checkpoint).name: [heat_map(embedder, m.picture, m.sentence, sides=given.sides) for m in asked],
        "spectral residual": [saliency(m.picture, sides=given.sides) for m in asked],
    }
    table = Table("", "Rsu", "Ras (lower)", "Rda", "Rmi", title=f"{PROTOCOL.id} on {len(asked)} mosaics, {given.split}")
    rmi = []
    for name, heats in maps.items():
        rows: list[Localisation] = [
            localisation(heat, [m.region], tile_px=min(given.sides)) for heat, m in zip(heats, asked, strict=True)
        ]
        means = (np.mean([getattr(row, key) for row in rows]) for key in ("rsu", "ras", "rda", "rmi"))
        table.add_row(name, *(f"{mean:.3f}" for mean in means))
        rmi.append(np.array([row.rmi for row in rows]))
    low, high = paired_interval(rmi[0] - rmi[1])
    console = Console()
    console.print(table)
    console.print(f"difference of Rmi {np.mean(rmi[0] - rmi[1]):.3f} [{low:.3f}, {high:.3f}]", highlight=False)
    if given.out is not None:
        first = list(zip(asked, next(iter(maps.values())), strict=True))[:_SHOWN]
        plot_heat(
            given.out, "what is asked for, and where it was found",
            [(m.sentence, m.picture, heat) for m, heat in first], outlines=[m.region for m, _ in first],
        )  # fmt: skip


if __name__ == "__main__":
    main()

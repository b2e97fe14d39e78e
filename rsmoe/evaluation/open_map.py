"""A map of any names: what covers the ground of a picture, told by two towers that never learned these classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from rsmoe.contrast.cost_aggregation import CostAggregation
from rsmoe.contrast.open_names import OpenNames
from rsmoe.data.batch import Batch
from rsmoe.data.collate import Collate
from rsmoe.errors import UserError
from rsmoe.evaluation.map_tiles import TiledMap, draw_tiles
from rsmoe.geo.dates import Dates
from rsmoe.geo.windows import tile_starts
from rsmoe.geo.write import NO_DATA

SIDE = 288
"""Pixels of a side that a tile is seen at."""
OTHER = "other"
"""Name of what none of the names is."""
_SPREAD = 16
"""Tiles of a picture that stand for pictures of any content, where there is no trained aggregation."""


class OpenMap:
    """Classes of pixels by names that are given when it is asked; drawn by `rsmoe.evaluation.map_tiles.draw_tiles`.

    Args:
        names: each with the words that stand for it.
        aggregation: trained; None leaves the costs as they are, and measures them against the picture itself.
        other: standard deviations by which a name must be more like a pixel than names are on average; below that the
            pixel is `OTHER`. None gives every pixel a name; one name alone has 1.

    Raises:
        UserError: no names or more than a map can hold, a name that no word tells.
    """

    dates = 1

    def __init__(
        self,
        *,
        opened: OpenNames,
        names: Mapping[str, Sequence[str]],
        aggregation: CostAggregation | None = None,
        other: float | None = None,
    ) -> None:
        if other is None and len(names) == 1:
            other = 1.0
        self.names = (*names, *(() if other is None else (OTHER,)))
        if not names or len(self.names) > NO_DATA or len(set(self.names)) < len(self.names):
            raise UserError(f"{len(names)} names: expected 1 to {NO_DATA - 1} names, all different, none {OTHER!r}")
        self.opened, self.other, self.trained = opened, other, aggregation is not None
        self.embedded = opened.embed(names)
        vision = opened.model.vision
        self.aggregation = aggregation or CostAggregation(
            dim=self.embedded.shape[1], pyramid_widths=vision.pyramid_widths
        )
        self.aggregation.to(self.embedded.device).eval()
        pixels = {key: opened.config[key] for key in ("mean", "std")}
        codec = opened.tokens.codec
        self.collate = Collate(codec=codec, instruction_codec=codec, image_size=SIDE, inference=True, **pixels)

    @torch.inference_mode()
    def look(self, batch: Batch) -> Tensor:
        """Requests on n tiles -> (n, T, h, w) logits, of `OTHER` behind those of the names."""
        cells, pyramid = self.opened.cells(batch.pixels[:, 0].to(self.embedded.device))
        logits, scale = self.aggregation.costs(cells, self.embedded), torch.ones((), device=cells.device)
        if self.trained:
            logits, scale = self.aggregation(logits, pyramid), self.aggregation.scale.exp()
        if self.other is not None:
            logits = torch.cat([logits, torch.full_like(logits[:, :1], self.other) * scale], dim=1)
        return logits

    def classify(self, shares: Tensor) -> Tensor:
        """(T, H, W) probabilities -> (H, W) uint8, the likeliest name."""
        return shares.argmax(0).to(torch.uint8)

    def draw(self, dates: Dates, *, tile_px: int, console: Console | None = None) -> TiledMap:
        """The map of a picture of any size, see `draw_tiles`."""
        if not self.trained:
            self._measure(dates, tile_px)
        title = "map of names, tiles"
        return draw_tiles(self, self.look, self.collate, dates, tile_px=tile_px, title=title, console=console)

    @torch.inference_mode()
    def _measure(self, dates: Dates, tile_px: int) -> None:
        height, width = dates.valid.shape
        side = tile_px or max(height, width)
        places = [
            (top, left)
            for top in tile_starts(height, side, overlap=0.0)
            for left in tile_starts(width, side, overlap=0.0)
        ]
        chosen = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, _SPREAD).round().astype(int))]
        cuts = [
            dates.overview(rows=slice(top, min(top + side, height)), columns=slice(left, min(left + side, width)))
            for top, left in chosen
        ]
        with_data = [cut for cut in cuts if cut.valid.any()] or [dates.overview()]
        seen = [self.opened.cells(self._pixels(np.asarray(cut.images[0]))) for cut in with_data]
        self.aggregation.fit(
            torch.cat([cells for cells, _ in seen]),
            [torch.cat(levels) for levels in zip(*(p for _, p in seen), strict=True)],
        )

    def _pixels(self, image: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
        small = F.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        return self.collate.transform.normalised(small).to(self.embedded.device)


def save_aggregation(path: Path, aggregation: CostAggregation, opened: OpenNames) -> None:
    """Writes what was learned, for these towers alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(aggregation.state_dict(), path, metadata={"towers": opened.fingerprint})


def load_aggregation(path: Path, opened: OpenNames) -> CostAggregation:
    """What `save_aggregation` wrote; `UserError`: it cannot be read, or was learned with other towers."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            towers = (file.metadata() or {}).get("towers")
        state = load_file(path)
        dim, channels = len(state["mean"]), len(state["query.bias"])
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(
            f"aggregation={path} cannot be read ({error}). Make it with python -m rsmoe.studies.open_vocabulary --save"
        ) from None
    if towers != opened.fingerprint:
        raise UserError(
            f"aggregation={path} was learned with other towers than checkpoint= gives: give those, or leave it out"
        )
    found = CostAggregation(dim=dim, pyramid_widths=opened.model.vision.pyramid_widths, channels=channels)
    found.load_state_dict(state)
    return found

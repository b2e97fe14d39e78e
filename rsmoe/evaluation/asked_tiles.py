"""A request asked of every tile of a picture larger than the model's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from rsmoe.data.batch import Batch
from rsmoe.data.boxes import parse
from rsmoe.data.boxes.joined import join_boxes
from rsmoe.data.sample import Sample
from rsmoe.evaluation.answer import answer_batch, confidences
from rsmoe.evaluation.map_tiles import draw_tiles
from rsmoe.evaluation.open_run import OpenRun
from rsmoe.evaluation.tiled_answer import TiledAnswer
from rsmoe.generation.decoding import Decoding
from rsmoe.geo.dates import Dates
from rsmoe.geo.polygons import area, map_polygons
from rsmoe.geo.things import large_things, mean_inside
from rsmoe.geo.write import NO_DATA
from rsmoe.metrics.prediction import Prediction
from rsmoe.perception import Perception
from rsmoe.router.routing import Routing

_UNMARKED = -20.0
"""Logit of a tile whose answer holds no mask."""
_PERCENT = 100


class AskedTiles:
    """The map that `draw_tiles` draws of a request: what it asks for, by the mask in the answer to each tile.

    Args:
        asked: the request.
        convention: of boxes in words; None where they have none.
        routing: of one request, the router's choice for the whole picture: every tile has the same experts.
        size_px: (width, height) of the picture.
        tile_px: side of a tile.
    """

    dates = 1
    names: tuple[str, ...] = ("", "object")

    def __init__(
        self, *, run: OpenRun, asked: Sample, decoding: Decoding, beams: int, convention: str | None,
        routing: Routing, size_px: tuple[int, int], tile_px: int,
    ) -> None:  # fmt: skip
        self.run, self.asked, self._routing, self._convention = run, asked, routing, convention
        self._decoding, self._beams = decoding, beams
        self._size_px, self._tile_px = size_px, tile_px
        self._boxes: list[np.ndarray] = []
        self._found: list[tuple[float, tuple[int, int, int, int]]] = []
        self._smallest: int | None = None
        self._located = False

    def look(self, batch: Batch) -> Tensor:
        """The request on n tiles -> (n, 2, h, w) logits of what it asks for; boxes are kept."""
        model, codec = self.run.model, self.run.codec
        batch = batch.to(model.to_lm.weight.device)
        perception = replace(model.perceive(batch), routing=self._routing.repeated(0, len(batch)))
        each = [self._decoding] * len(batch)
        found = answer_batch(model, codec, batch, beams=self._beams, perception=perception, each=each)
        self._keep_boxes(batch, perception, found)
        smallest = {expert.name: expert.smallest_px for expert in model.experts}
        masks = [_logits(own) for own in found]
        size = next((mask.shape for mask in masks if mask is not None), (1, 1))
        marked = torch.full((len(found), *size), _UNMARKED)
        for place, (own, mask) in enumerate(zip(found, masks, strict=True)):
            if mask is not None:
                marked[place] = mask
                self._smallest = smallest.get(own.expert, 1)
                self._located |= own.boxes_px is not None
        return torch.stack([torch.zeros_like(marked), marked], dim=1)

    def classify(self, shares: Tensor) -> Tensor:
        """(2, H, W) shares -> (H, W) uint8: how likely a pixel is of what is asked, in percent; 0 up to a half."""
        likely = (shares[1] / shares.sum(0)).nan_to_num()
        return torch.where(likely > 0.5, (_PERCENT * likely).round(), 0).to(torch.uint8)

    def draw(self, dates: Dates, *, console: Console | None = None) -> TiledAnswer:
        """The answer to all of a picture of one date."""
        drawn = draw_tiles(
            self, self.look, self.run.collate, dates, tile_px=self._tile_px, title="answer, tiles", asked=self.asked,
            console=console,
        )  # fmt: skip
        told: dict[str, Any] = {"numbers": np.zeros(0, np.int64), "scores": np.zeros(0)}
        if self._smallest is not None:
            mask, shares = large_things(drawn.kinds, least=self._smallest)
            hulls, scores, weights = _things(mask, shares)
            order = np.argsort(-weights, kind="stable")
            numbers = np.empty(len(order), np.int64)
            numbers[order] = np.arange(1, len(order) + 1)
            told = {"mask": mask, "numbers": numbers, "scores": scores}
            if self._located and len(hulls):
                told |= {"boxes": hulls[order], "box_scores": tuple(scores[order].tolist())}
        if self._boxes:
            sure, seen = np.array([s for s, _ in self._found]), np.array([tile for _, tile in self._found])
            boxes, sure = join_boxes(np.stack(self._boxes), sure, seen, self._size_px)
            told |= {"boxes": boxes, "box_scores": tuple(sure.tolist())}
        return TiledAnswer(valid=drawn.valid, tiles=drawn.tiles, tile_px=drawn.tile_px, **told)

    def _keep_boxes(self, batch: Batch, perception: Perception, found: list[Prediction]) -> None:
        """Boxes of the words, in pixels of the picture."""
        if self._convention is None:
            return
        width, height = self._size_px
        each = []
        for sample, own in zip(batch.samples, found, strict=True):
            top, left = (int(side) for side in sample.id.split(","))
            right, bottom = min(left + self._tile_px, width), min(top + self._tile_px, height)
            boxes = parse(own.text, convention=self._convention, size_px=(right - left, bottom - top)).boxes
            each.append((boxes, (left, top, right, bottom)))
        if not any(len(boxes) for boxes, _ in each):
            return
        sure = confidences(self.run.model, self.run.codec, batch, perception, [own.text for own in found])
        for (boxes, tile), score in zip(each, sure, strict=True):
            corner = np.array([*tile[:2], *(tile[:2] if boxes.shape[1] == 4 else (0, 0, 0))])
            self._boxes += list(boxes + corner)
            self._found += [(float(np.exp(score)), tile)] * len(boxes)


def _logits(own: Prediction) -> Tensor | None:
    """Of the mask in an answer: (h, w) as the head gives them, else sure ones of the size of the tile."""
    if own.mask_logits is not None:
        return torch.from_numpy(own.mask_logits)
    return None if own.mask is None else torch.from_numpy(own.mask) * -2 * _UNMARKED + _UNMARKED


def _things(mask: Any, shares: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each region of a mask: (n, 4) float32 ``x1 y1 x2 y2`` around it, (n,) its mean probability, and their sum."""
    hulls, scores, weights = [], [], []
    for _, rings in map_polygons(mask, skip=NO_DATA):
        hulls.append((*rings[0].min(axis=0).tolist(), *rings[0].max(axis=0).tolist()))
        scores.append(mean_inside(shares, rings) / _PERCENT)
        weights.append(scores[-1] * sum(area(ring) for ring in rings))
    return np.array(hulls, np.float32).reshape(-1, 4), np.array(scores), np.array(weights)

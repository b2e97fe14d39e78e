"""What a model answered to one request, with where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rsmoe.evaluation.map_tiles import TiledMap
from rsmoe.evaluation.tiled_answer import TiledAnswer
from rsmoe.geo.dates import Dates


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer in words, and whatever the model's heads and maps say beside it; pictures, masks and maps are left out
    where it is printed."""

    id: str
    """Of the request."""
    text: str
    instruction: str
    """As it was asked."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Of the request."""
    prompt_tokens: int
    """Read for the answer: the words of the prompt and the visual tokens of the pictures, without the experts' own."""
    tokens: int
    """Decoded for the answer, those of a stop word included, the end token not."""
    ended: bool
    """False where the answer was cut at its longest length."""
    routing: dict[str, float]
    """Expert -> weight of the router."""
    dates: Dates = field(repr=False)
    """The pictures at full size, and their georeference."""
    shown: Dates = field(repr=False)
    """The same in arrays, thinned where they are large: what the words are about."""
    image_size: int
    """Side in pixels of what the model saw."""
    notes: tuple[str, ...] = ()
    """What was done to the pictures, in words for the user."""
    sources: tuple[str, ...] = ()
    """Ids of the notes that the answer cites; () without knowledge."""
    confidence: float | None = None
    """Mean log-probability of the answer's tokens; 0 is certain. None where it was not asked for."""
    mask: np.ndarray | None = field(default=None, repr=False)
    """(H, W) bool of the size of ``shown``, where the answer holds [SEG]: the union of ``masks``."""
    masks: tuple[np.ndarray, ...] = field(default=(), repr=False)
    """Of each [SEG] of the answer, in its order, (H, W) bool; where they overlap, the first has the pixel."""
    mask_scores: tuple[float | None, ...] = ()
    """Of each of ``masks`` the mean probability inside; None where it is empty or of a map. () of an answer in
    tiles."""
    boxes: np.ndarray | None = None
    """(n, 4) ``x1 y1 x2 y2`` or (n, 5) ``cx cy w h angle_deg`` in pixels of ``dates``, of the words or else of a head
    that locates; None without one."""
    box_scores: tuple[float | None, ...] = ()
    """Of each box: of a head the mean probability inside of its mask, of words the probability of the answer's tokens
    (geometric mean), where ``confidence`` is there."""
    answered: TiledAnswer | None = field(default=None, repr=False)
    """Masks and boxes tile by tile, of the size of ``dates``; ``mask`` and ``boxes`` are then of these. None where the
    whole picture was answered."""
    expert: str = ""
    """Which of them gave the mask or the boxes; else the one of the highest weight."""
    land_cover: np.ndarray | None = field(default=None, repr=False)
    """(H, W) uint8 classes of a single picture, of the size of ``shown``; None without a map of land cover."""
    change_map: np.ndarray | None = field(default=None, repr=False)
    """(H, W) uint8 kind of change of a pair, 0 none, of the size of ``shown``; None without a map of changes."""
    change: TiledMap | None = field(default=None, repr=False)
    """The same tile by tile, of the size of ``dates``; None where it was not asked for."""
    cover: TiledMap | None = field(default=None, repr=False)
    """``land_cover`` tile by tile, likewise."""
    prompts: dict[str, str] | None = None
    """Expert -> the prompt of the router, in words; None where it was not asked for."""

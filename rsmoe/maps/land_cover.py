"""Land cover: semantic segmentation of one date, and a visual token for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Positive
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.errors import UserError
from rsmoe.maps import MapEvidence, MapTokens
from rsmoe.maps.decoder import PyramidDecoder, class_shares, with_truth
from rsmoe.maps.region_tokens import MEASURES, class_regions, mean_over, measures

MOST = 12
"""Regions of a class that have a number of their own; more have this one."""


class LandCover(nn.Module):
    """FPN semantic segmentation head over K classes, land cover and objects, with one region token a class.

    The decoder (`PyramidDecoder`) classifies every pixel of the finest level, where its convolution is 1 x 1. Questions
    of number, colour, place and size are about the pixels of a class, not about the mean of a picture. With the pixels
    of class k those where k is likeliest, its token is::

        t_k = LN(e_k + v_n + W s + U x)

    e_k is learned for the class, v_n for the number n of its regions (8 neighbours); x is the mean of the features over
    its pixels; s holds the root of its mean probability and its highest, and of its pixels and of those of its largest
    region what `measures` gives (share, centre, spread, direction, 3 x 3 cells) and the mean colour. The tokens of the
    classes that cover most of a picture stand behind its visual memory, the largest first; the words of an instruction
    can read all of them, see `rsmoe.maps.noun_grounding.NounGrounding`. Ours.

    Args:
        pyramid_widths: channels of the levels, finest first.
        width: D of the tokens.
        bands: of the pixels.
        classes: names of the K classes of the data's class maps, in their order.
        channels: of the decoder; a multiple of 8.
        shown: tokens a picture.
        min_pixels: regions of fewer pixels of the map are not counted.

    Raises:
        UserError: one class or too many, channels that are no multiple of 8.
    """

    dates = 1
    terms: Mapping[str, float] = {"land_cover": 1.0, "land_cover_dice": 1.0}

    def __init__(
        self,
        *,
        pyramid_widths: Sequence[Positive],
        width: Positive,
        bands: Positive,
        classes: Sequence[str],
        channels: Positive = 32,
        shown: Positive = 8,
        min_pixels: Positive = 2,
    ) -> None:
        super().__init__()
        if not 2 <= len(classes) < UNKNOWN or channels % 8:
            raise UserError(
                f"{len(classes)} maps.land_cover.classes, maps.land_cover.channels={channels}: expected 2 to "
                f"{UNKNOWN - 1} classes, and a multiple of 8 channels"
            )
        self.names, self.classes, self.shown = tuple(classes), len(classes), min(shown, len(classes))
        self.min_pixels = min_pixels
        self.decoder = PyramidDecoder(widths=pyramid_widths, channels=channels, finest_kernel=1)
        self.logits = nn.Conv2d(channels, self.classes, 1)
        self.name = nn.Embedding(self.classes, width)
        self.counted = nn.Embedding(1 + MOST, width)
        self.measure = nn.Linear(2 * (1 + MEASURES + bands), width)
        self.feature = nn.Linear(channels, width)
        self.norm = nn.LayerNorm(width)
        for part in (self.name, self.counted, self.measure):
            nn.init.normal_(part.weight, std=0.5)  # one scale for all: a place is a number from 0 to 1, too

    def forward(self, pyramids: Sequence[Sequence[Tensor]]) -> MapEvidence:
        """Levels (R, D_l, h_l, w_l), finest first, of the one date; R may be 0."""
        x: Tensor = self.decoder(pyramids[0])
        return MapEvidence(logits=self.logits(x), features=x)

    def tokens(self, evidence: MapEvidence, *, pixels: Tensor, truth: Tensor | None = None) -> MapTokens:
        """(R, shown, D) tokens of the largest classes, and (R, K, D) of all.

        Args:
            pixels: (R, T, bands, H, W), normalised, of which the first date is read.
            truth: (R, H, W) uint8 classes that stand for the predicted ones where they are known all over.
        """
        x = evidence.features
        p = with_truth(evidence.logits.float().softmax(1), truth, self._shares)  # (R, K, h, w)
        hard = p.argmax(1)  # (R, h, w)
        mine = class_shares(hard, self.classes).to(x.dtype)  # (R, K, h, w)
        found, counts = class_regions(hard, self.classes, self.min_pixels)
        largest = found.to(x.dtype)
        colours = F.adaptive_avg_pool2d(pixels[:, 0].to(x.dtype), (x.shape[2], x.shape[3]))
        sure = torch.stack([p.mean((2, 3)).sqrt(), p.flatten(2).amax(2)], dim=-1).to(x.dtype)
        numbers = [measures(mine), mean_over(mine, colours), measures(largest), mean_over(largest, colours), sure]
        known = self.name.weight + self.counted(counts.clamp_max(MOST)) + self.measure(torch.cat(numbers, dim=-1))
        known = self.norm(known + self.feature(mean_over(mine, x)))
        share, order = mine.mean((2, 3)).topk(self.shown, dim=1)
        there = share > 0
        tokens = known.gather(1, order[..., None].expand(-1, -1, known.shape[2])) * there[..., None]
        return MapTokens(tokens=tokens, mask=there, classes=known)

    def _shares(self, truth: Tensor, size: tuple[int, int]) -> Tensor:
        return class_shares(_nearest(truth, size), self.classes)

    def classify(self, shares: Tensor) -> Tensor:
        """(K, H, W) probabilities -> (H, W) uint8, the likeliest class."""
        return shares.argmax(0).to(torch.uint8)

    def losses(self, evidence: MapEvidence, target: Tensor) -> dict[str, Tensor]:
        """ "land_cover": cross-entropy over the pixels that are known; "land_cover_dice": soft dice, mean
        over the classes that are there, each over all pictures, so that what is small counts too.

        Args:
            target: (R, H, W) uint8 classes, 255 unknown.

        Raises:
            UserError: a class that the model does not know.
        """
        known = target != UNKNOWN
        if bool((known & (target >= self.classes)).any()):
            raise UserError(
                f"a class map holds the class {int(target[known].max())}, but the model knows {self.classes}, from 0. "
                f"Set maps.land_cover.classes to the number of classes of the data"
            )
        small = _nearest(target, (evidence.logits.shape[2], evidence.logits.shape[3]))  # (R, h, w)
        known = small != UNKNOWN
        small = small.masked_fill(~known, 0)
        log_p = evidence.logits.float().log_softmax(1)
        right = log_p.gather(1, small[:, None])[:, 0]  # (R, h, w)
        p = log_p.exp() * known[:, None]
        sizes = small[known].bincount(minlength=self.classes).to(p.dtype)  # (K,)
        shared = p.new_zeros(self.classes).index_add(0, small[known], right[known].exp())
        dice = 1 - (2 * shared + 1) / (p.sum((0, 2, 3)) + sizes + 1)
        there = sizes > 0
        return {
            "land_cover": -right[known].sum() / known.sum().clamp_min(1),
            "land_cover_dice": (dice * there).sum() / there.sum().clamp_min(1),
        }


def _nearest(classes: Tensor, size: tuple[int, int]) -> Tensor:
    """(R, H, W) classes -> (R, *size) long."""
    return F.interpolate(classes[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()

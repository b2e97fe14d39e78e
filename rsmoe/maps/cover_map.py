"""What covers the ground, pixel by pixel, and what the language model is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Positive
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.errors import UserError
from rsmoe.maps.class_regions import MEASURES, class_regions, mean_over, measures
from rsmoe.vision.top_down import top_down

MOST = 12
"""Regions of a class that are told apart; more are told as so many."""


@dataclass(frozen=True, kw_only=True)
class CoverEvidence:
    """What I pictures show."""

    logits: Tensor
    """(I, K, h, w) of the classes, at the finest level."""
    features: Tensor
    """(I, channels, h, w), of which the logits are a linear map."""


@dataclass(frozen=True, kw_only=True)
class CoverTokens:
    """What a language model is told of I pictures."""

    classes: Tensor
    """(I, K, D) of every class, whether it is there or not."""
    told: Tensor
    """(I, told, D), the class that covers most first; zero behind the last class that is there."""


class CoverMap(nn.Module):
    """Pyramid of a picture -> a map of K classes, land cover and objects, and a token for each.

    A feature pyramid (Lin et al., arXiv 1612.03144) of one linear map and one 3 x 3 convolution a level, 1 x 1 at the
    finest, which costs most, classifies every pixel of the finest level. Who is asked how many, of what colour, where
    or which is larger needs the pixels of a class, not the mean of a picture. With the pixels of class k those where k
    is likeliest, its token is::

        t_k = LN(e_k + v_n + W s + U x)

    e_k is learned for the class, v_n for the number n of its regions (8 neighbours); x is the mean of the features over
    its pixels; s holds the root of its mean probability and its highest, and of its pixels and of those of its largest
    region what `measures` gives (share, centre, spread, direction, 3 x 3 cells) and the mean colour. The tokens of the
    classes that cover most of a picture stand behind its visual memory, the largest first; the words of an instruction
    read all of them, see `rsmoe.maps.words_about.WordsAbout`. Ours.

    Args:
        pyramid_widths: channels of the levels, finest first.
        width: D of the tokens.
        bands: of the pixels.
        classes: names of the K classes of the data's class maps, in their order.
        channels: of the decoder; a multiple of 8.
        told: tokens a picture.
        min_pixels: regions of fewer pixels of the map are not counted.

    Attributes:
        told_truth: in training, the share of pictures whose tokens tell the true map, where it is known, in place of
            the one that is seen; a stage sets it, see `rsmoe.settings.stage.Stage`.

    Raises:
        UserError: one class or too many, channels that are no multiple of 8.
    """

    terms: Mapping[str, float] = {"cover": 1.0, "cover_dice": 1.0}
    """Losses and their weights."""

    def __init__(
        self,
        *,
        pyramid_widths: Sequence[Positive],
        width: Positive,
        bands: Positive,
        classes: Sequence[str],
        channels: Positive = 32,
        told: Positive = 8,
        min_pixels: Positive = 2,
    ) -> None:
        super().__init__()
        if not 2 <= len(classes) < UNKNOWN or channels % 8:
            raise UserError(
                f"{len(classes)} cover.classes, cover.channels={channels}: expected 2 to {UNKNOWN - 1} classes, and a "
                f"multiple of 8 channels"
            )
        self.names, self.classes, self.told = tuple(classes), len(classes), min(told, len(classes))
        self.min_pixels, self.told_truth = min_pixels, 0.0
        self.lateral = nn.ModuleList(nn.Conv2d(w, channels, 1) for w in pyramid_widths)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3 if level else 1, padding="same"), nn.GroupNorm(8, channels), nn.GELU()
            )
            for level in range(len(pyramid_widths))
        )
        self.classify = nn.Conv2d(channels, self.classes, 1)
        self.name = nn.Embedding(self.classes, width)
        self.counted = nn.Embedding(1 + MOST, width)
        self.measure = nn.Linear(2 * (1 + MEASURES + bands), width)
        self.feature = nn.Linear(channels, width)
        self.norm = nn.LayerNorm(width)
        for part in (self.name, self.counted, self.measure):
            nn.init.normal_(part.weight, std=0.5)  # all are told equally loud: a place is a number from 0 to 1, too

    def forward(self, pyramid: Sequence[Tensor]) -> CoverEvidence:
        """Levels (I, D_l, h_l, w_l), finest first; I may be 0."""
        x = top_down([lateral(level) for lateral, level in zip(self.lateral, pyramid, strict=True)], self.smooth)
        return CoverEvidence(logits=self.classify(x), features=x)

    def tell(self, evidence: CoverEvidence, pixels: Tensor, truth: Tensor | None = None) -> CoverTokens:
        """What the language model is told of I pictures.

        Args:
            pixels: (I, bands, H, W), normalised.
            truth: (I, H, W) uint8 classes, 255 unknown; read in training only, see ``told_truth``.
        """
        x = evidence.features
        p = evidence.logits.float().softmax(1)  # (I, K, h, w)
        if self.training and truth is not None and self.told_truth:
            p = self._corrected(p, truth)
        hard = p.argmax(1)  # (I, h, w)
        mine = F.one_hot(hard, self.classes).permute(0, 3, 1, 2).to(x.dtype)  # (I, K, h, w)
        largest, counts = (
            part.to(hard.device) for part in class_regions(hard.cpu().numpy(), self.classes, self.min_pixels)
        )
        largest = largest.to(x.dtype)
        colours = F.adaptive_avg_pool2d(pixels.to(x.dtype), (x.shape[2], x.shape[3]))
        sure = torch.stack([p.mean((2, 3)).sqrt(), p.flatten(2).amax(2)], dim=-1).to(x.dtype)
        numbers = [measures(mine), mean_over(mine, colours), measures(largest), mean_over(largest, colours), sure]
        known = self.name.weight + self.counted(counts.clamp_max(MOST)) + self.measure(torch.cat(numbers, dim=-1))
        known = self.norm(known + self.feature(mean_over(mine, x)))
        share, order = mine.mean((2, 3)).topk(self.told, dim=1)
        told = known.gather(1, order[..., None].expand(-1, -1, known.shape[2]))
        return CoverTokens(classes=known, told=told * (share > 0)[..., None])

    def _corrected(self, p: Tensor, truth: Tensor) -> Tensor:
        """(I, K, h, w) with a random share of the pictures, among those known all over, as they truly are."""
        drawn = torch.rand(len(truth), device=truth.device) < self.told_truth
        corrected = (drawn & (truth != UNKNOWN).flatten(1).all(1)).nonzero().squeeze(1)
        size = (p.shape[2], p.shape[3])
        true = F.interpolate(truth[corrected, None].float(), size=size, mode="nearest-exact")[:, 0].long()
        return p.index_copy(0, corrected, F.one_hot(true, self.classes).permute(0, 3, 1, 2).to(p.dtype))

    def losses(self, evidence: CoverEvidence, target: Tensor) -> dict[str, Tensor]:
        """ "cover": cross-entropy over the pixels that are known; "cover_dice": soft dice, mean over the classes that
        are there, each over all pictures, so that what is small counts too.

        Args:
            target: (I, H, W) uint8 classes, 255 unknown.

        Raises:
            UserError: a class that the model does not know.
        """
        known = target != UNKNOWN
        if bool((known & (target >= self.classes)).any()):
            raise UserError(
                f"a class map holds the class {int(target[known].max())}, but the model knows {self.classes}, from 0. "
                f"Set cover.classes to the number of classes of the data"
            )
        size = evidence.logits.shape[-2:]
        small = F.interpolate(target[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()  # (I, h, w)
        known = small != UNKNOWN
        small = small.masked_fill(~known, 0)
        log_p = evidence.logits.float().log_softmax(1)
        right = log_p.gather(1, small[:, None])[:, 0]  # (I, h, w)
        p = log_p.exp() * known[:, None]
        sizes = small[known].bincount(minlength=self.classes).to(p.dtype)  # (K,)
        shared = p.new_zeros(self.classes).index_add(0, small[known], right[known].exp())
        dice = 1 - (2 * shared + 1) / (p.sum((0, 2, 3)) + sizes + 1)
        there = sizes > 0
        return {
            "cover": -right[known].sum() / known.sum().clamp_min(1),
            "cover_dice": (dice * there).sum() / there.sum().clamp_min(1),
        }

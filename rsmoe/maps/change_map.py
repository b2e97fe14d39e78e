"""Where two dates differ, pixel by pixel, and what the language model is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Depth, NonNegative, Positive
from rsmoe.data.rasters.components import without_specks
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.errors import UserError
from rsmoe.maps.change_regions import read_regions
from rsmoe.vision.glance import CELLS
from rsmoe.vision.positions import sine_positions
from rsmoe.vision.top_down import top_down

MOST = 8
"""Regions of a kind that are told apart; more are told as so many."""


@dataclass(frozen=True, kw_only=True)
class ChangeEvidence:
    """What P pairs show."""

    logits: Tensor
    """(P, 1 + K, h, w) at the finest level: no change, then K kinds of change."""
    features: Tensor
    """(P, channels, h, w), of which the logits are a linear map."""


def likeliest(p: Tensor) -> Tensor:
    """(1 + K, H, W) shares of no change and of K kinds -> (H, W) uint8: 0, or the likeliest kind where change has half.

    The likeliest of all would miss what is surely a change and may be of one kind or another.
    """
    return torch.where(2 * p[0] >= p.sum(0), 0, 1 + p[1:].argmax(0)).to(torch.uint8)


class ChangeMap(nn.Module):
    """Difference pyramid of two dates -> a map of changes, and 9 + K tokens beside the visual memory.

    At each level, finest to coarsest l, with a and b the normalised linear maps of the features of the two dates::

        d_l(p) = b(p) - a(q),   q = argmin over |q - p| <= search of ||b(p) - a(q)||
        x_l    = smooth(W_l [d_l ; |d_l| ; |d_l| (a + b)] + up(x_{l+1}))

    What is there counts only where something differs, hence the product. Taking the best match in a window makes a
    picture that lies a cell beside the other no change; it also hides what vanished beside its like, so that dates
    which are laid on each other (``align_px``) do better without. Two identical dates have d_l = 0 exactly, everywhere.
    ``logits`` are a linear map of the finest x; a cell's token is LN(W [mean of p x ; max of p, p_1 .. p_K ; mean of p,
    p_1 .. p_K]) with p the probability of any change and p_k that of kind k, both 0 outside of the regions of at least
    ``min_pixels``, so that a speck is told nowhere. The other tokens tell the picture as a person would read it off
    the map, one token a kind: LN(w_k + sum of u_c + v_n), u_c for every cell c that holds a
    due share of what changed of kind k, and v_n for the n > 0 regions of it (`read_regions`: hard, so that the map
    learns nothing by it). Cells and numbers look the same for every kind: who has learned to read one reads them all.
    Siamese difference pyramids are those of FC-Siam-diff (Caye Daudt et al., arXiv 1810.08462); the product, the window
    and the tokens are ours.

    Args:
        pyramid_widths: channels of the levels, finest first.
        width: D of the visual memory.
        kinds: K; 1 tells change from no change.
        channels: of the decoder; a multiple of 8.
        search: half the side of the window, in cells of each level; 0 compares the same cell only.
        min_pixels: regions of fewer pixels of the map are specks, neither told, placed nor counted.

    Attributes:
        told_truth: in training, the share of pairs whose tokens tell the true map, where it is known, in place of the
            one that is seen; a stage sets it, see `rsmoe.settings.stage.Stage`.

    Raises:
        UserError: channels that are no multiple of 8.
    """

    terms: Mapping[str, float] = {"change": 4.0, "change_dice": 1.0}
    """Losses and their weights."""

    def __init__(
        self,
        *,
        pyramid_widths: Sequence[Positive],
        width: Positive,
        kinds: Depth = 1,
        channels: Positive = 48,
        search: NonNegative = 1,
        min_pixels: Positive = 4,
    ) -> None:
        super().__init__()
        if channels % 8:
            raise UserError(f"change.channels={channels}: expected a multiple of 8")
        self.kinds, self.search, self.min_pixels = kinds, search, min_pixels
        self.told_truth = 0.0
        self.features = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, channels, 1), nn.GroupNorm(8, channels)) for w in pyramid_widths
        )
        self.lateral = nn.ModuleList(nn.Conv2d(3 * channels, channels, 1, bias=False) for _ in pyramid_widths)
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(8, channels), nn.GELU())
            for _ in pyramid_widths
        )
        self.classify = nn.Conv2d(channels, 1 + kinds, 1)
        self.cells = nn.Sequential(nn.Linear(channels + 2 * (1 + kinds), width), nn.LayerNorm(width))
        self.kind = nn.Parameter(torch.randn(kinds, width))
        self.named = nn.Parameter(torch.randn(CELLS * CELLS, width))
        self.counted = nn.Parameter(torch.randn(MOST, width))
        self.regions = nn.LayerNorm(width)
        self.register_buffer("places", sine_positions(CELLS, CELLS, width), persistent=False)

    def forward(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> ChangeEvidence:
        """Levels (P, D_l, h_l, w_l) of the first and of the second date, finest first; P may be 0."""
        laterals = []
        for level, lateral in enumerate(self.lateral):
            a, b = self.features[level](before[level]), self.features[level](after[level])
            d = self.difference(a, b)
            far = d.abs()
            laterals.append(lateral(torch.cat([d, far, far * (a + b)], dim=1)))
        x = top_down(laterals, self.smooth)
        return ChangeEvidence(logits=self.classify(x), features=x)

    def tell(self, evidence: ChangeEvidence, truth: Tensor | None = None) -> Tensor:
        """What the language model is told of P pairs.

        Args:
            truth: (P, H, W) uint8 kinds, 0 for none, 255 unknown; read in training only, see ``told_truth``.

        Returns:
            (P, 9 + K, D): one token for each cell of the 3 x 3 grid of change instructions (ChangeChat, DeltaVLM), row
            by row, and one for each kind of change.
        """
        x, kinds = evidence.features, evidence.logits.float().softmax(1)  # (P, 1 + K, h, w)
        if self.training and truth is not None and self.told_truth:
            kinds = self._corrected(kinds, truth)
        found = self._found(kinds)
        there = (found > 0)[:, None]  # (P, 1, h, w)
        p = (1 - kinds[:, :1]) * there
        told = torch.cat([p, kinds[:, 1:] * there], dim=1)
        cells = torch.cat(
            [
                F.adaptive_avg_pool2d(p * x, CELLS),
                F.adaptive_max_pool2d(told, CELLS),
                F.adaptive_avg_pool2d(told, CELLS),
            ],
            dim=1,
        )
        places = self.cells(cells.flatten(2).transpose(1, 2).to(x.dtype)) + self.places
        return torch.cat([places, self._regions(found).to(places.dtype)], dim=1)

    def _found(self, kinds: Tensor) -> Tensor:
        """(P, 1 + K, h, w) probabilities -> (P, h, w) uint8, the kind of what is more than a speck."""
        maps = [likeliest(one) for one in kinds.detach()]
        kept = [torch.from_numpy(without_specks(one.cpu().numpy(), self.min_pixels)).to(one.device) for one in maps]
        return torch.stack([one * keep for one, keep in zip(maps, kept, strict=True)]) if maps else kinds[:, 0].byte()

    def _regions(self, hard: Tensor) -> Tensor:
        """(P, h, w) kinds of a map -> (P, K, D)."""
        named, counts = (x.to(self.named) for x in read_regions(hard, number=self.kinds, min_pixels=self.min_pixels))
        number = F.one_hot(counts.long().clamp_max(MOST), 1 + MOST)[..., 1:].to(named.dtype)  # (P, K, MOST)
        regions: Tensor = self.regions(self.kind + named @ self.named + number @ self.counted)
        return regions

    def _corrected(self, kinds: Tensor, truth: Tensor) -> Tensor:
        """(P, 1 + K, h, w) with a random share of the pairs, among those known all over, as they truly are."""
        corrected = (truth != UNKNOWN).flatten(1).all(1) & (
            torch.rand(len(truth), device=truth.device) < self.told_truth
        )
        true = F.one_hot(truth[corrected].long().clamp_max(self.kinds), 1 + self.kinds).permute(0, 3, 1, 2).to(kinds)
        return kinds.index_copy(
            0, corrected.nonzero().squeeze(1), F.adaptive_avg_pool2d(true, (kinds.shape[2], kinds.shape[3]))
        )

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        """Maps (P, channels, h, w) of two dates -> b less its best match in the window of a."""
        if self.search == 0:
            return b - a
        side = 2 * self.search + 1
        padded = F.pad(a, (self.search,) * 4, mode="replicate") if len(a) else F.pad(a, (self.search,) * 4)
        h, w = a.shape[-2:]
        moves = [(y, x) for y in range(side) for x in range(side)]
        with torch.no_grad():
            gaps = [(b - padded[..., y : y + h, x : x + w]).square().sum(1) for y, x in moves]  # (P, h, w) each
            best = torch.stack(gaps).argmin(0)
            row = best // side + torch.arange(h, device=a.device)[:, None]
            place = row * (w + 2 * self.search) + best % side + torch.arange(w, device=a.device)
        index = place.flatten(1)[:, None].expand(-1, a.shape[1], -1)
        return b - padded.flatten(2).gather(2, index).view_as(b)

    def losses(self, evidence: ChangeEvidence, target: Tensor) -> dict[str, Tensor]:
        """ "change": cross-entropy over the pixels that are known; "change_dice": soft dice of any change, by pair.

        Args:
            target: (P, H, W) uint8 kinds, 0 for none, 255 unknown.
        """
        logits = F.interpolate(evidence.logits.float(), size=target.shape[-2:], mode="bilinear", align_corners=False)
        known = target != UNKNOWN
        if bool((known & (target > self.kinds)).any()) and self.kinds > 1:
            raise UserError(
                f"a class map holds the kind of change {int(target[known].max())}, but the model knows {self.kinds}. "
                f"Set change.kinds to the number of kinds of the data, or to 1 for change or not"
            )
        kinds = target.long().clamp_max(self.kinds) if self.kinds == 1 else target.long()
        log_p = logits.log_softmax(1)
        each = F.nll_loss(log_p, kinds.masked_fill(~known, 0), reduction="none")  # (P, H, W)
        p = (1 - log_p[:, 0].exp()) * known
        truth = ((target > 0) & known).float()
        dice = 1 - (2 * (p * truth).sum((1, 2)) + 1) / (p.sum((1, 2)) + truth.sum((1, 2)) + 1)
        seen = known.flatten(1).any(1).float()
        return {
            "change": (each * known).sum() / known.sum().clamp_min(1),
            "change_dice": (dice * seen).sum() / seen.sum().clamp_min(1),
        }

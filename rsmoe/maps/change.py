"""Semantic change detection: the kind of change of every pixel between two dates, and visual tokens of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Depth, NonNegative, Positive
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.errors import UserError
from rsmoe.maps import MapEvidence, MapTokens
from rsmoe.maps.decoder import PyramidDecoder, class_shares, resized, with_truth
from rsmoe.maps.region_tokens import change_regions, without_specks
from rsmoe.vision.positions import GRID_SIDE, sine_positions

MOST = 8
"""Regions of a kind that have a number of their own; more have this one."""


class Change(nn.Module):
    """Siamese difference pyramid (FC-Siam-diff): K kinds of change of two dates, with 9 + K visual tokens.

    At each level, finest to coarsest l, with a and b the normalised linear maps of the features of the two dates::

        d_l(p) = b(p) - a(q),   q = argmin over |q - p| <= search of ||b(p) - a(q)||
        x_l    = smooth(W_l [d_l ; |d_l| ; |d_l| (a + b)] + up(x_{l+1}))

    What is there counts only where something differs, hence the product. Taking the best match in a window makes a
    picture that lies a cell beside the other no change; it also hides what vanished beside its like, so that dates
    which are laid on each other (``align_px``) do better without. Two identical dates have d_l = 0 exactly, everywhere.
    ``logits`` are a linear map of the finest x; a cell's token is LN(W [mean of p x ; max of p, p_1 .. p_K ; mean of p,
    p_1 .. p_K]) with p the probability of any change and p_k that of kind k, both 0 outside of the regions of at least
    ``min_pixels``, so that a speck counts nowhere. The other tokens give each kind of change as a person would read it
    off the map, one token a kind: LN(w_k + sum of u_c + v_n), u_c for every cell c that holds a
    due share of what changed of kind k, and v_n for the n > 0 regions of it (`change_regions`: hard, so that the map
    learns nothing by it). Cells and numbers look the same for every kind: who has learned to read one reads them all.
    Siamese difference pyramids are those of FC-Siam-diff (Caye Daudt et al., arXiv 1810.08462); the product, the window
    and the tokens are ours.

    Args:
        pyramid_widths: channels of the levels, finest first.
        width: D of the visual memory.
        bands: of the pixels, which are not read.
        kinds: K; 1 tells change from no change.
        channels: of the decoder; a multiple of 8.
        search: half the side of the window, in cells of each level; 0 compares the same cell only.
        min_pixels: regions of fewer pixels of the map are specks, neither placed nor counted.

    Raises:
        UserError: channels that are no multiple of 8.
    """

    dates = 2
    terms: Mapping[str, float] = {"change": 4.0, "change_dice": 1.0}

    def __init__(
        self,
        *,
        pyramid_widths: Sequence[Positive],
        width: Positive,
        bands: Positive,
        kinds: Depth = 1,
        channels: Positive = 48,
        search: NonNegative = 1,
        min_pixels: Positive = 4,
    ) -> None:
        super().__init__()
        if channels % 8:
            raise UserError(f"maps.change.channels={channels}: expected a multiple of 8")
        self.kinds, self.search, self.min_pixels = kinds, search, min_pixels
        self.names = ("no change", *(("change",) if kinds == 1 else (f"change {kind}" for kind in range(1, 1 + kinds))))
        self.features = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, channels, 1), nn.GroupNorm(8, channels)) for w in pyramid_widths
        )
        self.decoder = PyramidDecoder(widths=[3 * channels] * len(pyramid_widths), channels=channels, bias=False)
        self.logits = nn.Conv2d(channels, 1 + kinds, 1)
        self.cells = nn.Sequential(nn.Linear(channels + 2 * (1 + kinds), width), nn.LayerNorm(width))
        self.kind = nn.Parameter(torch.randn(kinds, width))
        self.named = nn.Parameter(torch.randn(GRID_SIDE**2, width))
        self.counted = nn.Parameter(torch.randn(MOST, width))
        self.regions = nn.LayerNorm(width)
        self.register_buffer("places", sine_positions(GRID_SIDE, GRID_SIDE, width), persistent=False)

    def forward(self, pyramids: Sequence[Sequence[Tensor]]) -> MapEvidence:
        """Levels (R, D_l, h_l, w_l), finest first, of the first and of the second date; R may be 0."""
        levels = []
        for features, before, after in zip(self.features, *pyramids, strict=True):
            a, b = features(before), features(after)
            d = self.difference(a, b)
            far = d.abs()
            levels.append(torch.cat([d, far, far * (a + b)], dim=1))
        x: Tensor = self.decoder(levels)
        return MapEvidence(logits=self.logits(x), features=x)

    def tokens(self, evidence: MapEvidence, *, pixels: Tensor, truth: Tensor | None = None) -> MapTokens:
        """(R, 9 + K, D): one token for each cell of the 3 x 3 grid of change instructions (ChangeChat, DeltaVLM),
        row by row, and one for each kind of change.

        Args:
            pixels: not read.
            truth: (R, H, W) uint8 kinds that stand for the predicted ones where they are known all over.
        """
        x = evidence.features
        kinds = with_truth(evidence.logits.float().softmax(1), truth, self._shares)  # (R, 1 + K, h, w)
        found = without_specks(_likeliest(kinds.detach(), dim=1), self.min_pixels)  # (R, h, w)
        there = (found > 0)[:, None]
        p = (1 - kinds[:, :1]) * there
        shares = torch.cat([p, kinds[:, 1:] * there], dim=1)
        cells = torch.cat(
            [
                F.adaptive_avg_pool2d(p * x, GRID_SIDE),
                F.adaptive_max_pool2d(shares, GRID_SIDE),
                F.adaptive_avg_pool2d(shares, GRID_SIDE),
            ],
            dim=1,
        )
        places = self.cells(cells.flatten(2).transpose(1, 2).to(x.dtype)) + self.places
        tokens = torch.cat([places, self._kinds(found).to(places.dtype)], dim=1)
        return MapTokens(tokens=tokens, mask=torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device))

    def _kinds(self, hard: Tensor) -> Tensor:
        """(R, h, w) kinds of a map -> (R, K, D)."""
        named, counts = change_regions(hard, number=self.kinds, min_pixels=self.min_pixels)
        number = F.one_hot(counts.clamp_max(MOST), 1 + MOST)[..., 1:].to(self.counted)  # (R, K, MOST)
        tokens: Tensor = self.regions(self.kind + named.to(self.named) @ self.named + number @ self.counted)
        return tokens

    def _shares(self, truth: Tensor, size: tuple[int, int]) -> Tensor:
        return F.adaptive_avg_pool2d(class_shares(truth.clamp_max(self.kinds), 1 + self.kinds), size)

    def classify(self, shares: Tensor) -> Tensor:
        """(1 + K, H, W) probabilities -> (H, W) uint8: 0, or the likeliest kind where change has half.

        The likeliest of all would miss what is surely a change and may be of one kind or another.
        """
        return _likeliest(shares, dim=0)

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        """Maps (R, channels, h, w) of two dates -> b less its best match in the window of a."""
        if self.search == 0:
            return b - a
        side = 2 * self.search + 1
        padded = F.pad(a, (self.search,) * 4, mode="replicate") if len(a) else F.pad(a, (self.search,) * 4)
        h, w = a.shape[-2:]
        moves = [(y, x) for y in range(side) for x in range(side)]
        with torch.no_grad():
            gaps = [(b - padded[..., y : y + h, x : x + w]).square().sum(1) for y, x in moves]  # (R, h, w) each
            best = torch.stack(gaps).argmin(0)
            row = best // side + torch.arange(h, device=a.device)[:, None]
            place = row * (w + 2 * self.search) + best % side + torch.arange(w, device=a.device)
        index = place.flatten(1)[:, None].expand(-1, a.shape[1], -1)
        return b - padded.flatten(2).gather(2, index).view_as(b)

    def losses(self, evidence: MapEvidence, target: Tensor) -> dict[str, Tensor]:
        """ "change": cross-entropy over the pixels that are known; "change_dice": soft dice of any change, by pair.

        Args:
            target: (R, H, W) uint8 kinds, 0 for none, 255 unknown.
        """
        logits = resized(evidence.logits, (target.shape[1], target.shape[2]))
        known = target != UNKNOWN
        if bool((known & (target > self.kinds)).any()) and self.kinds > 1:
            raise UserError(
                f"a class map holds the kind of change {int(target[known].max())}, but the model knows {self.kinds}. "
                f"Set maps.change.kinds to the number of kinds of the data, or to 1 for change or not"
            )
        kinds = target.long().clamp_max(self.kinds) if self.kinds == 1 else target.long()
        log_p = logits.log_softmax(1)
        each = F.nll_loss(log_p, kinds.masked_fill(~known, 0), reduction="none")  # (R, H, W)
        p = (1 - log_p[:, 0].exp()) * known
        truth = ((target > 0) & known).float()
        dice = 1 - (2 * (p * truth).sum((1, 2)) + 1) / (p.sum((1, 2)) + truth.sum((1, 2)) + 1)
        seen = known.flatten(1).any(1).float()
        return {
            "change": (each * known).sum() / known.sum().clamp_min(1),
            "change_dice": (dice * seen).sum() / seen.sum().clamp_min(1),
        }


def _likeliest(shares: Tensor, *, dim: int) -> Tensor:
    none = shares.select(dim, 0)
    change = shares.narrow(dim, 1, shares.shape[dim] - 1)
    return torch.where(2 * none >= shares.sum(dim), 0, 1 + change.argmax(dim)).to(torch.uint8)

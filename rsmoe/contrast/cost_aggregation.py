"""Open-vocabulary segmentation: class names against the cells of a picture, and what like cells say of each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Positive


class CostAggregation(nn.Module):
    """A cost volume of names and cells, and its aggregation over like cells, which knows no class.

    With f(p) the embedding of cell p and e_k that of name k, the cost is how much more p is like the name than cells of
    aerial pictures are, in standard deviations; m and S are the mean and the covariance of their embeddings (`fit`)::

        z_k(p) = (e_k . f(p) - e_k . m) / sqrt(e_k' S e_k)

    Each name is then judged by all cells that look like p, by the levels g of the pyramid at the size of the finest::

        y_k(p) = s (w sum_j A_pj z_k(j) + (1 - w) z_k(p)),   A_pj = softmax_j(t cos(Q g_p, K g_j))

    What is learned (Q, K, s, w, t) sees the picture, and the costs pass through it one name at a time: any list of
    names works, and a name that was never seen is aggregated as the others are.
    The cost volume is CAT-Seg's (Cho et al., arXiv 2303.11797), in whose attention, too, the picture goes into queries
    and keys alone; the standard score, and leaving the values without weights, are ours.

    Args:
        dim: of the embeddings.
        pyramid_widths: channels of the levels, finest first.
        channels: of queries and keys.
    """

    mean: Tensor
    covariance: Tensor
    centre: Tensor

    def __init__(self, *, dim: Positive, pyramid_widths: Sequence[Positive], channels: Positive = 64) -> None:
        super().__init__()
        width = sum(pyramid_widths)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("covariance", torch.eye(dim))
        self.register_buffer("centre", torch.zeros(width))
        self.query = nn.Conv2d(width, channels, 1)
        self.key = nn.Conv2d(width, channels, 1)
        nn.init.orthogonal_(self.query.weight)
        self.key.load_state_dict(self.query.state_dict())
        self.sharp = nn.Parameter(torch.tensor(2.0))
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.share = nn.Parameter(torch.tensor(0.0))

    @torch.no_grad()
    def fit(self, cells: Tensor, pyramid: Sequence[Tensor]) -> None:
        """Takes the statistics of cells (n, dim, h, w) and pyramids (n, D_l, h_l, w_l) of pictures of any content."""
        flat = cells.transpose(0, 1).flatten(1).double()  # (dim, n h w)
        self.mean.copy_(flat.mean(1))
        self.covariance.copy_(torch.cov(flat))
        self.centre.copy_(self._guides(pyramid).mean((0, 2, 3)))

    def costs(self, cells: Tensor, names: Tensor) -> Tensor:
        """Cells (n, dim, h, w) and names (T, dim) -> standard scores (n, T, h, w), without what is learned."""
        spread = torch.einsum("kd,de,ke->k", names, self.covariance, names).clamp_min(1e-12).sqrt()
        found: Tensor = torch.einsum("ndhw,kd->nkhw", cells, names)
        return (found - (names @ self.mean)[:, None, None]) / spread[:, None, None]

    def forward(self, costs: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        """Costs (n, T, h, w) and levels (n, D_l, h_l, w_l), finest first -> logits (n, T, H, W) of the finest."""
        guides = self._guides(pyramid) - self.centre[:, None, None]
        fine = F.interpolate(costs, size=guides.shape[-2:], mode="bilinear", align_corners=False)
        query, key = (F.normalize(part(guides).flatten(2), dim=1) for part in (self.query, self.key))
        alike = (self.sharp.exp() * query.transpose(1, 2) @ key).softmax(-1)  # (n, P, P)
        told = (fine.flatten(2) @ alike.transpose(1, 2)).view_as(fine)
        share = self.share.sigmoid()
        logits: Tensor = self.scale.exp() * (share * told + (1 - share) * fine)
        return logits

    @staticmethod
    def _guides(pyramid: Sequence[Tensor]) -> Tensor:
        """(n, sum of D_l, H, W), every level of length 1 in every cell."""
        size = pyramid[0].shape[-2:]
        levels = [F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in pyramid]
        return torch.cat([F.normalize(level, dim=1) for level in levels], dim=1)

"""Control: routes by clusters of instructions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.errors import UserError
from rsmoe.router import Balance, Choice
from rsmoe.router.gate import Gate
from rsmoe.router.request import RouterRequest
from rsmoe.router.routing import Routing


class ClusterRouter(Gate):
    """Cluster-conditional gate (MoCLE, arXiv 2312.12379): z = T[c(x)], a learned row of logits for each of K fixed
    clusters of instructions.

    c(x) is the nearest of K means, found by `fit` on the training instructions before the first step and fixed from
    then on. Features are unit vectors of the words' sum under a fixed random projection, which keeps the distances of
    bags of words, in place of MoCLE's pretrained sentence encoder; there is no universal expert. MoCLE itself chooses
    with ``choice=top_k choice.k=1``.

    Args:
        width, memory_width: of the router contract; unused.
        vocab_size: of the instruction's tokens.
        experts: E.
        choice, balance: see `Gate`; the state of the gate is the feature.
        clusters: K.
        features: width of the features.
    """

    words: Tensor
    means: Tensor
    fitted: Tensor

    def __init__(
        self,
        *,
        width: Positive,
        memory_width: Positive,
        vocab_size: Positive,
        experts: Positive,
        choice: Callable[..., Choice],
        balance: Balance,
        clusters: Positive = 16,
        features: Positive = 64,
    ) -> None:
        super().__init__(width=features, experts=experts, choice=choice, balance=balance)
        self.register_buffer("words", torch.randn(vocab_size, features))
        self.register_buffer("means", torch.zeros(clusters, features))
        self.register_buffer("fitted", torch.tensor(False))
        self.table = nn.Embedding(clusters, experts)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, request: RouterRequest) -> Routing:
        """See `rsmoe.router.Router`."""
        if not bool(self.fitted):
            raise UserError("router=clusters has no clusters yet: rsmoe.train finds them, or call ClusterRouter.fit")
        x = self._features(request.instruction_ids, request.instruction_mask)
        return self.route(self.table(_nearest(x, self.means)).float(), x, request)

    @torch.no_grad()
    def fit(self, ids: Tensor, mask: Tensor, *, rounds: Positive = 50) -> None:
        """K-means over n instructions (n, L) with their mask: Lloyd's algorithm from the farthest-first points.

        The same instructions give the same clusters."""
        x = self._features(ids, mask)
        means = x[:1]
        while len(means) < len(self.means):
            means = torch.cat([means, x[torch.cdist(x, means).amin(1).argmax()][None]])
        for _ in range(rounds):
            near = nn.functional.one_hot(_nearest(x, means), len(means)).to(x)  # (n, K)
            count = near.sum(0)[:, None]
            means = torch.where(count > 0, near.T @ x / count.clamp_min(1), means)
        self.means.copy_(means)
        self.fitted.fill_(True)

    def _features(self, ids: Tensor, mask: Tensor) -> Tensor:
        total = (self.words[ids].float() * mask[..., None]).sum(1)
        return nn.functional.normalize(total, dim=-1)


def _nearest(x: Tensor, means: Tensor) -> Tensor:
    return torch.cdist(x, means.float()).argmin(1)

"""From the states that emit [SEG] and a feature pyramid to one mask a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.experts.class_memory import ClassMemory
from rsmoe.maps.decoder import PyramidDecoder
from rsmoe.vision.positions import sine_positions

PLACE = 32
"""Channels of the sines that say where a pixel is."""
SHARP = 10.0
"""Of the window of a query at first: 7 d^2 is taken from its logits, d in sides of the picture."""
NEAR = 5
"""Side in pixels of the finest level of a neighbourhood in which two targets cannot both begin."""


@dataclass(frozen=True, kw_only=True)
class Masks:
    """Of n [SEG] in g replies."""

    layers: tuple[Tensor, ...]
    """(n, h, w) logits after each layer, at the size of the finest level; the last are the answer."""
    point: Tensor
    """(g, h * w + 1) log-probability that a target of the reply lies at a pixel; the last: that there is none."""
    reply: Tensor
    """(n,) long: the reply that each [SEG] is of."""
    classes: Tensor | None
    """(g, K) logits of the class of the targets, where the memory has classes."""


class MaskDecoder(nn.Module):
    """Transformer decoder with masked attention (Mask2Former, arXiv 2112.01527), one query for each [SEG].

    1. pixels, once a view with a [SEG]: the FPN of all maps, then, with sines of the place, mask features M and keys,
       h x w
    2. where, once a reply: p = softmax <mean [SEG] state, keys> over the pixels and "nowhere"; the k-th [SEG] of a
       reply begins at the k-th highest peak of p (queries from pixels: Mask DINO, arXiv 2206.02777)
    3. query = state + key of its pixel; or + a learned vector, where "nowhere" is likelier than all pixels
    4. a layer: attention to the keys of every 2 x 2 pixels inside of the mask so far, attention among the [SEG] of a
       reply, feed-forward; after each <query, M> - a d^2 is a mask, d the distance from where the query began and
       a > 0 predicted by it, so that two [SEG] of a reply differ from the first step on (a Gaussian window, as in
       SMCA, arXiv 2101.07448)
    5. memory, with one: it reads the masks so far, and M of the reply is refined by it, see `ClassMemory`

    Differences to Mask2Former: learned queries and their classes give way to [SEG] states, and keys are those of one
    level, in which the FPN has joined all.

    Args:
        hidden_width: D of the states.
        pyramid_widths: channels of the levels, finest first.
        width: C; a multiple of 8.
        layers: of the decoder.
        heads: of attention.
        memory: of M, or None.
    """

    def __init__(
        self,
        *,
        hidden_width: int,
        pyramid_widths: Sequence[int],
        width: int,
        layers: int,
        heads: int,
        memory: ClassMemory | None,
    ) -> None:
        super().__init__()
        self.width, self.memory = width, memory
        self.state = nn.Sequential(nn.LayerNorm(hidden_width), _mlp(hidden_width, width))
        self.pixels = PyramidDecoder(widths=pyramid_widths, channels=width)
        self.features = nn.Sequential(
            nn.Conv2d(width + PLACE, width, 1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.keys = nn.Conv2d(width + PLACE, width, 1)
        self.where, self.begin = _mlp(width, width), nn.Linear(width, width)
        self.nowhere = nn.Parameter(torch.zeros(width))
        self.layers: Sequence[_Layer] = nn.ModuleList(_Layer(width, heads) for _ in range(layers))  # type: ignore[assignment]
        self.embed = nn.Sequential(nn.LayerNorm(width), _mlp(width, width + 2))

    def forward(self, hidden: Tensor, sample: Tensor, view: Tensor, pyramid: Sequence[Tensor]) -> Masks:
        """n >= 1 states of g replies.

        Args:
            hidden: (n, D).
            sample: (n,) long, the same for the [SEG] of one reply, ascending.
            view: (n,) long, their places in the pyramid.
            pyramid: levels (V, D_l, h_l, w_l), finest first.
        """
        _, reply, count = sample.unique_consecutive(return_inverse=True, return_counts=True)
        first = count.cumsum(0) - count
        asked_of, view = view.unique(return_inverse=True)  # most views of a mixed batch have no [SEG]
        x = self.pixels([level[asked_of] for level in pyramid])  # (V, C, h, w)
        height, width = x.shape[-2:]
        place = sine_positions(height, width, PLACE, device=x.device).to(x.dtype).T.view(1, PLACE, height, width)
        x = torch.cat([x, place.expand(len(x), -1, -1, -1)], dim=1)
        features, keys = self.features(x), self.keys(x)
        query = self.state(hidden)
        asked = query.new_zeros(len(count), self.width).index_add(0, reply, query) / count[:, None]
        point = self._point(asked, keys, view[first])
        pixel, none = self._begin(point, (height, width), reply)
        query = query + self.begin(torch.where(none[:, None], self.nowhere, keys.flatten(2)[view, :, pixel]))
        away = _squares(pixel, (height, width)).to(x.dtype).masked_fill(none[:, None], 0.0)  # (n, h * w)
        memory = None if self.memory is None else self.memory(asked)
        masks = [self._masks(query, features, view, away)]
        coarse = F.avg_pool2d(keys, 2, ceil_mode=True).flatten(2).transpose(1, 2)  # (V, hw / 4, C)
        for layer in self.layers:
            query = layer(
                query, coarse, view, reply, F.max_pool2d(masks[-1].detach(), 2, ceil_mode=True).flatten(1) > 0
            )
            masks.append(self._masks(query, features, view, away))
        if self.memory is not None and memory is not None:
            tokens = self.memory.write(memory, masks[-1], features, view, reply)
            embed = self.embed(query)
            added = self.memory.read(embed[:, :-2], tokens, features, view, reply)
            masks.append(masks[-1] + added)
        return Masks(layers=tuple(masks), point=point, reply=reply, classes=None if memory is None else memory.classes)

    def _point(self, asked: Tensor, keys: Tensor, view: Tensor) -> Tensor:
        asked = self.where(asked) / self.width**0.5
        logits = torch.bmm(asked[:, None], keys.flatten(2)[view])[:, 0]  # (g, h * w)
        return torch.cat([logits, (asked @ self.nowhere)[:, None]], dim=1).float().log_softmax(1)

    @torch.no_grad()
    def _begin(self, point: Tensor, size: tuple[int, int], reply: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) the pixel that each query begins at, of h * w, and (n,) bool: whether it is nowhere."""
        p = point.exp()
        near = F.avg_pool2d(p[:, :-1].view(-1, 1, *size), 3, stride=1, padding=1)
        peak = near == F.max_pool2d(near, NEAR, stride=1, padding=NEAR // 2)
        rank = (reply[:, None] == reply).tril(-1).sum(1)  # of each [SEG] in its reply
        most = min(int(rank.max()) + 1, near[0].numel())
        pixel = (near * peak).flatten(1).topk(most).indices[reply, rank.clamp_max(most - 1)]
        return pixel, p[reply, -1] > 0.5

    def _masks(self, query: Tensor, features: Tensor, view: Tensor, away: Tensor) -> Tensor:
        embed = self.embed(query)
        logits = torch.bmm(embed[:, None, :-2], features.flatten(2)[view])[:, 0] / self.width**0.5 + embed[:, -2:-1]
        out: Tensor = (logits - SHARP * F.softplus(embed[:, -1:]) * away).view(len(query), *features.shape[-2:])
        return out


class _Layer(nn.Module):
    """Masked cross-attention, self-attention among the queries of a reply, feed-forward; each after a LayerNorm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.among = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed = _mlp(width, width)

    def forward(self, query: Tensor, keys: Tensor, view: Tensor, reply: Tensor, inside: Tensor) -> Tensor:
        """Queries (n, C), keys (V, P, C), ``inside`` (n, P) bool: the mask so far; an empty one counts as all."""
        inside = (inside | ~inside.any(1, keepdim=True))[:, None, None]
        key, value = (self._split(part(keys))[view] for part in (self.key, self.value))  # (n, heads, P, c)
        asked = self._split(self.query(self.before[0](query))[:, None])  # (n, heads, 1, c)
        seen = F.scaled_dot_product_attention(asked, key, value, attn_mask=inside)
        query = query + self.out(seen.transpose(1, 2).flatten(1))
        x = self.before[1](query)[None]
        query = query + self.among(x, x, x, attn_mask=reply[:, None] != reply, need_weights=False)[0][0]
        out: Tensor = query + self.feed(self.before[2](query))
        return out

    def _split(self, x: Tensor) -> Tensor:
        out: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return out


def _squares(pixel: Tensor, size: tuple[int, int]) -> Tensor:
    """(n, h * w) squared distances of all pixels of a grid from n of them, in sides of the picture."""
    axes = ((torch.arange(side, device=pixel.device) + 0.5) / side for side in size)
    y, x = (axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))  # (h * w,)
    return (y - y[pixel, None]).square() + (x - x[pixel, None]).square()


def _mlp(wide: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(wide, 2 * out), nn.GELU(), nn.Linear(2 * out, out))

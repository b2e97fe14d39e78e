"""Embeddings of pictures and texts, and which of them belong together, over all ranks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from rsmoe.training.ranks import my_share


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """n pictures and m texts of this rank, N and M of all ranks; in one process the same.

    A rank holds n x M and m x N numbers, never N x M: memory does not grow with the square of the ranks.
    """

    images: Tensor
    """(n, D) of length 1."""
    texts: Tensor
    """(m, D) of length 1."""
    all_images: Tensor
    """(N, D), with gradients of every rank's loss."""
    all_texts: Tensor
    """(M, D)."""
    texts_of_image: Tensor
    """(n, M) bool: the texts that are true of each picture of this rank."""
    images_of_text: Tensor
    """(m, N) bool: the pictures that each text of this rank is true of."""

    @classmethod
    def gathered(cls, images: Tensor, texts: Tensor, *, keys: Tensor, references: Tensor) -> Pairs:
        """The pairs of a step; every rank calls it, with equally many pictures and equally many texts.

        A text belongs to every picture that has it among its captions, drawn or not, and so to all that show the same
        place: none of these is a negative.

        Args:
            images: (n, D) of length 1.
            texts: (m, D) of length 1.
            keys: (m,) long, `text_key` of the texts.
            references: (n, R) long, keys of all captions of each picture, 0 where it has fewer.
        """
        everyone = _widened(references)
        every_key, every_reference = _joined(keys), _joined(everyone)
        return cls(
            images=images,
            texts=texts,
            all_images=_Gather.apply(images),
            all_texts=_Gather.apply(texts),
            texts_of_image=(everyone[:, None] == every_key[None, :, None]).any(-1),
            images_of_text=(every_reference[None] == keys[:, None, None]).any(-1),
        )


def text_key(text: str) -> int:
    """A number above 0 that texts of the same words share, whatever their capitals and spaces."""
    digest = hashlib.sha256(" ".join(text.lower().split()).encode()).digest()
    return 1 + int.from_bytes(digest[:7], "big")


def reference_keys(captions: Sequence[Sequence[str]]) -> Tensor:
    """Captions of n pictures -> (n, R) long, see `Pairs.gathered`."""
    known = [sorted({text_key(text) for text in own}) for own in captions]
    most = max(map(len, known))
    return torch.tensor([own + [0] * (most - len(own)) for own in known])


def _widened(references: Tensor) -> Tensor:
    """As many columns as the rank with the most."""
    if my_share()[1] == 1:
        return references
    most = torch.tensor(references.shape[1], device=references.device)
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    return torch.nn.functional.pad(references, (0, int(most) - references.shape[1]))


def _joined(own: Tensor) -> Tensor:
    world = my_share()[1]
    if world == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(world)]
    distributed.all_gather(parts, own.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """Rows of all ranks; backward, the gradients of all ranks for this rank's rows are summed, as the exact gradient of
    the joint loss needs. gloo has no reduce-scatter, so that the sum is taken of all rows."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return _joined(own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient, (rank, world) = gradients[0], my_share()
        if world == 1:
            return gradient
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total.chunk(world)[rank]

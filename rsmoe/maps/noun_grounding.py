"""Noun grounding: the words of an instruction bring along the tokens of the classes that they name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.data.text_codec import TextCodec

SHARP = 8.0
"""Score at first of a class for a word of its name; that of any other is 0."""

BEFORE = 4
"""Words before a noun that tell its role: "relative to the largest house"."""


class NounGrounding(nn.Module):
    """Class-conditioned word embeddings: adds to a word the token of the class of a map that it names.

    "How many ships are there?" is answered by whoever finds the token of the ships among those of the picture; a small
    language model learns that search slowly. Here the word "ships" brings the token along, and how it differs from
    what the other words bring, for "which is larger"; and for "where is the ship relative to the pier", in which the
    first is asked for and the second stands for comparison, the difference of the two in that sense, whatever the
    order they are named in::

        x_i += W v_i + U n_i (v_i - v) + R n_i sum_j r_j n_j (v_j - v) / sum_j n_j + V LN(m)
        v_i = sum_k a_ik t_k,   a_i = softmax(s_(w_i)),   n_i = max_k a_ik,   v = mean of v_i by n_i
        r_j = tanh(sum_(d = 1..4) q_(w_(j-d)))

    with t_k the token of class k, m the mean of the visual memory, for words that are about the whole picture
    ("season", "theme"), s_w learned scores of word w, high at first for a class where w or its plural is in its
    name, and q_w learned for word w: the four words before a noun ("relative to the", "seen from the") tell its role.
    W, U, R and V are zero at first, so that a language model reads its words as it knows them. Ours.

    Args:
        names: of the K classes.
        codec: of the language model.
        memory_width: D of the tokens.
        width: of the language model.
    """

    def __init__(self, *, names: Sequence[str], codec: TextCodec, memory_width: int, width: int) -> None:
        super().__init__()
        self.bring = nn.Linear(memory_width, width)
        self.compare = nn.Linear(memory_width, width, bias=False)
        self.relate = nn.Linear(memory_width, width, bias=False)
        self.role = nn.Embedding(codec.vocab_size, 1)
        self.norm = nn.LayerNorm(memory_width)
        self.whole = nn.Linear(memory_width, width, bias=False)
        for added in (self.bring.weight, self.bring.bias, self.compare.weight, self.relate.weight, self.whole.weight):
            nn.init.zeros_(added)
        vocabulary = codec.vocabulary()
        scores = torch.zeros(codec.vocab_size, len(names))
        for k, name in enumerate(names):
            for form in (form for word in name.split() for form in (word, f"{word}s") if form in vocabulary):
                scores[vocabulary[form], k] = 1.0
        self.scores = nn.Embedding.from_pretrained(scores, freeze=False)

    def forward(self, ids: Tensor, mask: Tensor, known: Tensor) -> Tensor:
        """Words (R, L) of an instruction, where they are words (R, L), and (R, 1 + K, D) of the whole picture and each
        class -> (R, L, width)."""
        share = (SHARP * self.scores(ids)).softmax(-1).to(known.dtype)  # (R, L, K)
        brought = share @ known[:, 1:]  # (R, L, D)
        named = share.amax(-1, keepdim=True) * mask[..., None]  # (R, L, 1)
        mean = (named * brought).sum(1, keepdim=True) / named.sum(1, keepdim=True).clamp_min(1e-6)
        heard = F.pad(self.role(ids)[..., 0] * mask, (BEFORE, 0)).unfold(1, BEFORE, 1)[:, :-1].sum(-1)  # (R, L)
        role = heard.tanh().to(known.dtype)[..., None]
        apart = named * (brought - mean)
        related = (role * apart).sum(1, keepdim=True) / named.sum(1, keepdim=True).clamp_min(1e-6)
        whole = self.whole(self.norm(known[:, :1]))
        added: Tensor = self.bring(brought) + self.compare(apart) + self.relate(named * related) + whole
        return added

"""Noun grounding: words of an instruction carry the map tokens of the land cover classes that they name."""

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
    """Class-conditioned word embeddings: to the embedding of a word, adds the map token of the class that it names.

    To answer "How many ships are there?", a language model has to find the token of ships among the visual tokens, and
    a small one learns that search slowly. Here the embedding of "ships" already holds

    - the token of its class (W v_i);
    - the difference to the mean over all nouns of the instruction, for "which is larger" (U n_i (v_i - v));
    - the difference to the other noun, signed by the roles of both, for "where is the ship relative to the pier": the
      sign does not depend on which of them is named first (R ...)::

        x_i += W v_i + U n_i (v_i - v) + R n_i sum_j r_j n_j (v_j - v) / sum_j n_j + V LN(m)
        v_i = sum_k a_ik t_k,   a_i = softmax(s_(w_i)),   n_i = max_k a_ik,   v = mean of v_i by n_i
        r_j = tanh(sum_(d = 1..4) q_(w_(j-d)))

    with t_k the token of class k, and m the mean of the visual memory, for words about the whole picture ("season",
    "theme"). s_w are learned scores of the classes for word w, initially high where the name of a class holds w or w is
    its plural. q_w is learned for word w: the four words before a noun ("relative to the", "seen from the") tell its
    role. W, U, R and V start at zero, so that a pretrained language model reads its words unchanged. Ours.

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

"""Which words of an instruction are about which classes of a map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rsmoe.data.text import TextCodec

SHARP = 8.0
"""Score at first of a class for a word of its name; that of any other is 0."""


class WordsAbout(nn.Module):
    """Adds to the embedding of a word what is known of the class that it names.

    "How many ships are there?" is answered by whoever finds the token of the ships among those of the picture; a small
    language model learns that search slowly. Here the word "ships" brings the token along, and how it differs from
    what the other words bring, for "which is larger" and "where is the ship relative to the pier"::

        x_i += W v_i + U n_i (v_i - v) + V LN(m)
        v_i = sum_k a_ik t_k,   a_i = softmax(s_(w_i)),   n_i = max_k a_ik,   v = mean of v_i by n_i

    with t_k the token of class k, m the mean of the visual memory, for words that are about the whole picture
    ("season", "theme"), and s_w learned scores of word w, high at first for a class where w or its plural is in its
    name. W, U and V are zero at first, so that a language model reads its words as it knows them. Ours.

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
        self.norm = nn.LayerNorm(memory_width)
        self.whole = nn.Linear(memory_width, width, bias=False)
        for added in (self.bring.weight, self.bring.bias, self.compare.weight, self.whole.weight):
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
        whole = self.whole(self.norm(known[:, :1]))
        added: Tensor = self.bring(brought) + self.compare(named * (brought - mean)) + whole
        return added

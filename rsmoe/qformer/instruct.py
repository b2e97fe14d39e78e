"""The instruction-guided Q-Former of InstructBLIP."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Depth, Fraction, NonNegativeReal, Positive
from rsmoe.errors import UserError
from rsmoe.temporal.memory import VisualMemory
from rsmoe.weights.bases import remember
from rsmoe.weights.pretrained import on_meta_device, with_weights


class InstructQFormer(nn.Module):
    """Queries that read the visual memory as the instruction asks (InstructBLIP, arXiv 2305.06500, section 2.3).

    1. words + positions of the instruction; queries have no position; one LayerNorm over both
    2. each layer: self-attention over [queries ; instruction]
    3. every ``cross_attention_frequency`` layers, from the first: queries attend to the memory
    4. a feed-forward network for queries, another for words
    5. the M queries of the last layer come out

    Blocks are BERT's (post-norm, GELU). Equal to ``transformers.InstructBlipQFormerModel`` with the same weights.

    Args:
        memory_width: D of the visual memory.
        vocab_size: of the instruction's tokens.
        width: D of the queries.
        layers: blocks.
        heads: attention heads.
        queries: M.
        intermediate: width of the feed-forward networks.
        cross_attention_frequency: 2 as published; 1 in every layer.
        dropout: on embeddings, attention and the output of each block.
        max_positions: longest instruction, tokens.
        init_std: of random weights; 0.02 as published is meant for a width of 768.
        bert: name or folder of a BERT checkpoint to start from, see `rsmoe.qformer.weights.bert_weights`.
        instructblip: name or folder of an InstructBLIP checkpoint to take all weights from.

    Raises:
        UserError: ``width`` is no multiple of ``heads``, both sources are given, or a checkpoint has other shapes.
    """

    def __init__(
        self,
        *,
        memory_width: Positive,
        vocab_size: Positive,
        width: Positive = 768,
        layers: Depth = 12,
        heads: Depth = 12,
        queries: Positive = 32,
        intermediate: Positive = 3072,
        cross_attention_frequency: Positive = 2,
        dropout: Fraction = 0.1,
        max_positions: Positive = 512,
        init_std: NonNegativeReal = 0.02,
        bert: str | None = None,
        instructblip: str | None = None,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"qformer.width={width} is not a multiple of qformer.heads={heads}")
        if bert and instructblip:
            raise UserError(f"qformer.bert={bert} and qformer.instructblip={instructblip}: set one of them to null")
        self.width, self.queries = width, queries
        source = None if on_meta_device() else bert or instructblip
        with with_weights() if source else nullcontext():
            self.query_tokens = nn.Parameter(torch.empty(1, queries, width))
            self.words = nn.Embedding(vocab_size, width)
            self.positions = nn.Embedding(max_positions, width)
            self.norm = nn.LayerNorm(width, eps=1e-12)
            self.dropout = nn.Dropout(dropout)
            self.layers = nn.ModuleList(
                _Layer(
                    width, heads, intermediate, dropout, memory_width if i % cross_attention_frequency == 0 else None
                )
                for i in range(layers)
            )
            self.apply(partial(_init_bert, std=init_std))
            nn.init.normal_(self.query_tokens, std=init_std)
            if source:
                # here: transformers' models take four seconds, and a saved run needs none
                from rsmoe.qformer.weights import bert_weights, instructblip_weights

                weights = bert_weights if bert else instructblip_weights
                own = self.state_dict()
                theirs = weights(source, into=own, heads=heads)
                for name, value in theirs.items():
                    own[name][: len(value)] = value  # rows of further words keep their random values
                remember(self, source, theirs)

    def forward(self, memory: VisualMemory, instruction_ids: Tensor, instruction_mask: Tensor) -> Tensor:
        """Memory (B, N', D'), instruction (B, L) and its mask (B, L) -> queries (B, M, D).

        Raises:
            UserError: an instruction longer than ``max_positions``.
        """
        batch, length = instruction_ids.shape
        if length > self.positions.num_embeddings:
            raise UserError(
                f"an instruction has {length} tokens, the Q-Former takes {self.positions.num_embeddings}. "
                f"Lower text.max_prompt, or raise qformer.max_positions"
            )
        text = self.words(instruction_ids) + self.positions.weight[:length]  # (B, L, D)
        state = torch.cat([self.query_tokens.expand(batch, -1, -1), text], dim=1)  # (B, M+L, D)
        state = self.dropout(self.norm(state))
        own = instruction_mask.new_ones(batch, self.queries)
        self_mask = torch.cat([own, instruction_mask], dim=1)[:, None, None]  # (B, 1, 1, M+L)
        seen = self.queries, self_mask, memory.tokens, memory.mask[:, None, None]
        for layer in self.layers[:-1]:
            state = layer(state, *seen)
        out: Tensor = self.layers[-1](state, *seen, last=True)
        return out


class _Attention(nn.Module):
    """Attention, residual, norm."""

    def __init__(self, width: int, heads: int, dropout: float, source: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(source, width)
        self.value = nn.Linear(source, width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, state: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, length, D/heads)
            for x in (self.query(state), self.key(source), self.value(source))
        )
        rate = self.dropout.p if self.training else 0.0
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate).transpose(1, 2).flatten(2)
        out: Tensor = self.norm(self.dropout(self.out(seen)) + state)
        return out


class _FeedForward(nn.Module):
    """Two layers, residual, norm."""

    def __init__(self, width: int, intermediate: int, dropout: float) -> None:
        super().__init__()
        self.up = nn.Linear(width, intermediate)
        self.down = nn.Linear(intermediate, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, state: Tensor) -> Tensor:
        out: Tensor = self.norm(self.dropout(self.down(F.gelu(self.up(state)))) + state)
        return out


class _Layer(nn.Module):
    """Shared self-attention, cross-attention of the queries if there is ``memory_width``, two feed-forward networks."""

    def __init__(self, width: int, heads: int, intermediate: int, dropout: float, memory_width: int | None) -> None:
        super().__init__()
        self.attention = _Attention(width, heads, dropout, width)
        self.cross_attention = None if memory_width is None else _Attention(width, heads, dropout, memory_width)
        self.query_ffn = _FeedForward(width, intermediate, dropout)
        self.text_ffn = _FeedForward(width, intermediate, dropout)

    def forward(
        self, state: Tensor, count: int, self_mask: Tensor, memory: Tensor, memory_mask: Tensor, last: bool = False
    ) -> Tensor:
        state = self.attention(state[:, :count] if last else state, state, self_mask)
        queries, text = state[:, :count], state[:, count:]
        if self.cross_attention is not None:
            queries = self.cross_attention(queries, memory, memory_mask)
        # no word is left in the last layer, but in distributed training every parameter needs a gradient
        return torch.cat([self.query_ffn(queries), self.text_ffn(text)], dim=1)


def _init_bert(module: nn.Module, *, std: float) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)

"""Written sub-instructions: a router language model decodes one per expert, as the paper describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import NonNegative, Positive
from rsmoe.router.prompts import PromptRequest, Prompts


class TextPrompts(nn.Module):
    """A causal LM reads queries, instruction and the expert's embedding, and writes that expert's sub-instruction.

    Source: RS-MoE (arXiv 2411.01595), "Instruction Router generates one tailored prompt per expert"; how it was
    supervised is not published. Here it is taught the experts' templates (cross-entropy, reported as the writer's
    loss), and greedily decodes at most ``tokens`` of them. Decoding is discrete: no gradient passes the words.

    Args:
        width: D of the expert language model, that of the queries.
        templates: token ids of each expert's template, the targets.
        vocab_size: of the expert language model, whose vocabulary is written in.
        lm: the router's causal LM, with the same vocabulary.
        tokens: P, most tokens of a sub-instruction.
        end_id: token that ends one; by default 0, the padding.
    """

    reads_templates = True
    terms: Mapping[str, float] = {"prompt": 1.0}
    """Loss of the writer."""
    targets: Tensor

    def __init__(
        self,
        *,
        width: Positive,
        templates: Sequence[Sequence[int]],
        vocab_size: Positive,
        lm: nn.Module,
        tokens: Positive = 16,
        end_id: NonNegative = 0,
    ) -> None:
        super().__init__()
        self.lm = cast(Any, lm)
        self.end_id, self.tokens = end_id, tokens
        own = int(self.lm.config.hidden_size)
        self.project = nn.Linear(width, own)
        self.expert = nn.Embedding(len(templates), own)
        targets = torch.full((len(templates), tokens), end_id)
        for row, template in enumerate(templates):
            kept = list(template)[: tokens - 1]
            targets[row, : len(kept)] = torch.tensor(kept, dtype=torch.long)
        self.register_buffer("targets", targets)

    def forward(self, request: PromptRequest) -> Prompts:
        """R rows -> `Prompts` with ids (R, P), left-padded; ``loss`` in training."""
        embed = self.lm.get_input_embeddings()
        words = embed(request.prompt_ids)
        start = torch.cat([self.project(request.queries), words, self.expert(request.expert)[:, None]], dim=1)
        seen = torch.ones(start.shape[:2], dtype=torch.bool, device=start.device)
        seen[:, :-1] = torch.cat([request.queries_mask, request.prompt_mask], dim=1)
        loss = self._loss(start, seen, self.targets[request.expert]) if self.training else None
        return Prompts(**self._left(self._decode(start, seen)), loss=loss)

    def upcycle(self, source: int) -> None:
        """Nothing to copy: each expert keeps its own words."""

    def _run(self, embeds: Tensor, seen: Tensor) -> Tensor:
        positions = (seen.long().cumsum(-1) - 1).clamp_min(0)
        out: Tensor = self.lm(
            inputs_embeds=embeds, attention_mask=seen.long(), position_ids=positions, use_cache=False
        ).logits
        return out

    def _loss(self, start: Tensor, seen: Tensor, target: Tensor) -> Tensor:
        embeds = torch.cat([start, self.lm.get_input_embeddings()(target[:, :-1])], dim=1)
        seen = torch.cat([seen, torch.ones_like(target[:, :-1], dtype=torch.bool)], dim=1)
        logits = self._run(embeds, seen)[:, start.shape[1] - 1 :]
        # the first end token is a target, the padding after it is not
        counted = torch.cat([torch.ones_like(target[:, :1]), (target[:, :-1] != self.end_id).long()], 1).cumprod(1)
        nll = nn.functional.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), reduction="none")
        return (nll * counted.flatten()).sum() / counted.sum().clamp_min(1)

    @torch.no_grad()
    def _decode(self, start: Tensor, seen: Tensor) -> Tensor:
        ids = torch.full((len(start), self.tokens), self.end_id, device=start.device)
        running = torch.ones(len(start), dtype=torch.bool, device=start.device)
        for step in range(self.tokens):
            logits = self._run(start, seen)[:, -1]
            best = logits.argmax(-1).masked_fill(~running, self.end_id)
            ids[:, step] = best
            running = running & (best != self.end_id)
            if not bool(running.any()):
                break
            start = torch.cat([start, self.lm.get_input_embeddings()(best)[:, None]], dim=1)
            seen = torch.cat([seen, running[:, None]], dim=1)
        return ids

    def _left(self, ids: Tensor) -> dict[str, Tensor]:
        mask = ids != self.end_id
        order = mask.long().argsort(dim=1, stable=True)  # ended positions first, words in order behind them
        return {"ids": ids.gather(1, order), "mask": mask.gather(1, order)}

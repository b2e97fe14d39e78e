"""Fusion by rewriting: each aspect expert writes its sub-answer, one more expert rewrites them into one caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rsmoe.checks.ranges import NonNegativeReal
from rsmoe.data.aspects import ASPECTS, split_aspects
from rsmoe.data.batch import Batch
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.experts import Bank
from rsmoe.experts.answer_states import answer_states
from rsmoe.generation.decoding import Decoding, OnToken, decode
from rsmoe.generation.mixture import Mixture, by_length, smoothed
from rsmoe.router.routing import Rows

if TYPE_CHECKING:
    from rsmoe.model import RSMoE
    from rsmoe.perception import Perception, Reading, VisualPrefix


class Rewrite(Mixture):
    """Sub-answers, then a caption: closest to what the RS-MoE paper describes, whose own fusion is unpublished.

    Training: the experts named theme, object and relation learn their sentences of the reference
    (`rsmoe.data.aspects.split_aspects`), the rewriter learns the whole reference from all three. At inference the
    rewriter reads the sub-answers that were written. Samples that the router gives to a single expert, and every sample
    while the model is dense, are answered by mixture.

    Args:
        codec: of the language model.
        names: expert names in the bank's order; must hold "rewriter" and at least two aspects.
        bank: of the fusion contract; unused.
        length_penalty: of beam search.
        length_weight: of answers and of sub-answers, as in `rsmoe.generation.mixture.Mixture`.
    """

    terms: Mapping[str, float] = {"aspect": 1.0}

    def __init__(
        self,
        *,
        codec: TextCodec,
        names: Sequence[str],
        bank: Bank,
        length_penalty: NonNegativeReal = 1.0,
        length_weight: NonNegativeReal = 1.0,
    ) -> None:
        super().__init__(
            codec=codec, names=names, bank=bank, length_penalty=length_penalty, length_weight=length_weight
        )
        self.aspects = {index: name for index, name in enumerate(names) if name in ASPECTS}
        if "rewriter" not in names or len(self.aspects) < 2:
            raise UserError(
                f"fusion=rewrite needs the expert 'rewriter' and two of {', '.join(ASPECTS)}; the experts are "
                f"{', '.join(names)}. Type for example expert=[theme,object,relation,vqa,rewriter]"
            )
        assert codec.eos_id is not None
        self.eos_id = codec.eos_id
        self.codec, self.rewriter = codec, list(names).index("rewriter")

    def losses(self, model: RSMoE, batch: Batch, reading: Reading, *, smoothing: float = 0.0) -> dict[str, Tensor]:
        """Negative log-likelihood: "text" of single and rewritten answers, "aspect" of sub-answers.

        Smoothed and averaged over answers as by `rsmoe.generation.mixture.Mixture`.
        """
        mask, power = batch.response_mask, self.length_weight
        loss = smoothed(*self.log_probability(model, batch, reading), smoothing=smoothing)
        chosen = reading.perception.routing.chosen
        several = chosen[:, list(self.aspects)].sum(1) >= 2
        if model.dense or not bool(several.any()):
            return {"text": by_length(loss, mask, power=power)}
        again = several.nonzero().flatten().tolist()
        parts = {b: split_aspects(self.codec.decode(batch.response_ids[b][mask[b]].tolist())) for b in again}
        pairs = [(b, e) for e in self.aspects for b in again if bool(chosen[b, e])]  # sorted by expert
        written = [[*self.codec.encode(parts[b][self.aspects[e]]), self.eos_id] for b, e in pairs]
        ids, own = self._padded(written, mask.device)
        rows, prefix = self._rows(pairs, mask.device), reading.perception.prefix
        aspect = self._token_losses(model, batch, prefix, rows, ids, own, smoothing)
        prompts = [[i for e in self.aspects for i in self.codec.encode(parts[b][self.aspects[e]])] for b in again]
        rows = self._rows([(n, self.rewriter) for n in range(len(again))], mask.device)
        asked = self._asked(batch, again, prompts)
        rewritten = self._token_losses(
            model, asked, prefix[again], rows, batch.response_ids[again], mask[again], smoothing
        )
        loss = loss.index_copy(0, several.nonzero().squeeze(1), rewritten.to(loss.dtype))
        return {"text": by_length(loss, mask, power=power), "aspect": by_length(aspect, own, power=power)}

    @torch.no_grad()
    def generate(
        self,
        model: RSMoE,
        batch: Batch,
        perception: Perception,
        *,
        end_id: int,
        beams: int,
        each: Sequence[Decoding],
        on_token: OnToken | None = None,
    ) -> list[list[int]]:
        """B answers as token ids; ``on_token`` is not called, since a sub-answer is not the answer.

        Sub-answers are not sampled, and no stop word ends them: these settings are those of the answer.
        """
        options: dict[str, Any] = {"end_id": end_id, "beams": beams, "length_penalty": self.length_penalty}
        rows = self.rows(perception.routing)
        embeds, mask, _ = model.start(batch, perception.prefix, rows)
        answers = decode(model.bank, embeds, mask, rows, each=each, **options)
        several = perception.routing.chosen[:, list(self.aspects)].sum(1) >= 2
        if model.dense or not bool(several.any()):
            return answers
        again = several.nonzero().flatten().tolist()
        pairs = [(b, e) for e in self.aspects for b in again if bool(perception.routing.chosen[b, e])]
        rows = self._rows(pairs, batch.pixels.device)
        embeds, mask, _ = model.start(batch, perception.prefix, rows)
        alone = Rows(sample=torch.arange(len(pairs), device=embeds.device), expert=rows.expert, weight=rows.weight)
        plain = [Decoding(max_new=each[b].max_new) for b, _ in pairs]
        written = decode(model.bank, embeds, mask, alone, each=plain, **options)
        prompts = [[i for (b, _), ids in zip(pairs, written, strict=True) if b == s for i in ids] for s in again]
        asked = self._asked(batch, again, prompts)
        rows = self._rows([(n, self.rewriter) for n in range(len(again))], embeds.device)
        embeds, mask, _ = model.start(asked, perception.prefix[again], rows)
        own = [each[b] for b in again]
        final = decode(model.bank, embeds, mask, rows, each=own, **options)
        for b, ids in zip(again, final, strict=True):
            answers[b] = ids
        return answers

    def _rows(self, pairs: Sequence[tuple[int, int]], device: torch.device) -> Rows:
        sample, expert = (torch.tensor(part, device=device) for part in zip(*pairs, strict=True))
        return Rows(sample=sample, expert=expert, weight=torch.ones(len(pairs), device=device))

    def _asked(self, batch: Batch, places: list[int], sub_answers: list[list[int]]) -> Batch:
        """The requests at ``places``, with the sub-answers before the user's words in the prompt."""
        whole = [
            torch.tensor(sub + batch.prompt_ids[b][batch.prompt_mask[b]].tolist(), dtype=torch.long)
            for b, sub in zip(places, sub_answers, strict=True)
        ]
        flipped = [ids.flip(0) for ids in whole]
        ids = pad_sequence(flipped, batch_first=True, padding_value=self.codec.pad_id).flip(1)
        mask = pad_sequence([torch.ones(len(w), dtype=torch.bool) for w in whole], batch_first=True).flip(1)
        device = batch.pixels.device
        return replace(batch, prompt_ids=ids.to(device), prompt_mask=mask.to(device))

    def _padded(self, answers: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
        ids = pad_sequence([torch.tensor(a) for a in answers], batch_first=True, padding_value=self.codec.pad_id)
        mask = pad_sequence([torch.ones(len(a), dtype=torch.bool) for a in answers], batch_first=True)
        return ids.to(device), mask.to(device)

    def _token_losses(
        self, model: RSMoE, batch: Batch, prefix: VisualPrefix, rows: Rows, ids: Tensor, mask: Tensor, smoothing: float
    ) -> Tensor:
        """(R, L), each row an answer of its own."""
        start, start_mask, _ = model.start(batch, prefix, rows)
        said = answer_states(model.bank, start, start_mask, ids, mask, rows.expert)
        return smoothed(said.log_probability, said.smooth, smoothing=smoothing)

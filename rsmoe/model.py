"""The way of the data: pixels -> memory -> queries -> routing -> rows -> experts -> one text, and heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.data.batch import Batch
from rsmoe.data.tasks import task_names
from rsmoe.experts.expert import Expert, HeadInput
from rsmoe.experts.lengths import by_length, widened
from rsmoe.experts.mask import MaskExpert
from rsmoe.maps.change_map import ChangeMap
from rsmoe.maps.cover_map import CoverMap
from rsmoe.maps.words_about import WordsAbout
from rsmoe.perception import Perception, Reading, Shown, Sight
from rsmoe.router.prompts import PromptRequest
from rsmoe.router.routing import Routing, Rows
from rsmoe.temporal.bag_of_words import WordHead
from rsmoe.temporal.memory import VisualMemory, spread
from rsmoe.vision.frozen import FrozenPart
from rsmoe.vision.glance import Glance


class RSMoE(nn.Module):
    """Mixture of LLM experts behind one perception path.

    1. vision: pixels of all valid frames -> tokens and pyramid
    2. temporal: tokens of the dates -> visual memory; change: their pyramids -> a map, and tokens that tell it;
       cover: the pyramid of a single picture -> the same
    3. qformer: memory + instruction -> queries, projected to the language model's width
    4. router: instruction + queries -> experts, weights
    5. prompts: one per chosen (sample, expert) row
    6. bank: every row through its own expert, in one pass
    7. fusion: rows of one sample -> one distribution (`rsmoe.generation.mixture`)
    8. heads: states that emit [SEG] or [RET] -> masks, embeddings

    Training, scoring and generation all go through `perceive`, `prefix` and `states`: there is no second path.

    Args:
        experts: E experts in the bank's order; with a bank of one adapter (``moe=none``) they only lend their heads.
        special: id of each special token in the language model's vocabulary.
        bos_id: put before every row, where the language model was trained with one.
        skip: one more visual token, the mean of the memory, past the Q-Former: a Q-Former that starts from random
            weights lags behind its encoder.
        glance: more of them, with ``skip``: nine cells of the last frame, or the change tokens of a pair.
        words: head of the "words" loss, for perception that starts from random weights.
        change: where two dates differ; its tokens stand behind the visual memory of every pair.
        cover: what covers the ground; its tokens stand behind the visual memory of every single picture and go past the
            Q-Former with ``skip``.
        about: adds to a word of the instruction what ``cover`` knows of the class that it names.
    """

    # parts are chosen by configs and follow their contract pages, not a base class
    vision: Any
    temporal: Any
    qformer: Any
    router: Any
    prompts: Any
    bank: Any
    fusion: Any
    experts: Any
    right: Tensor

    def __init__(
        self,
        *,
        vision: Any,
        temporal: Any,
        qformer: Any,
        router: Any,
        prompts: Any,
        bank: Any,
        fusion: Any,
        experts: Sequence[Expert],
        special: Mapping[str, int],
        skip: bool = False,
        glance: Glance | None = None,
        words: WordHead | None = None,
        change: ChangeMap | None = None,
        cover: CoverMap | None = None,
        about: WordsAbout | None = None,
        bos_id: int | None = None,
    ) -> None:
        super().__init__()
        self.vision = vision.to(memory_format=torch.channels_last)  # a quarter faster convolutions on CPU
        self.temporal, self.qformer = temporal, qformer
        self.router, self.prompts, self.bank, self.fusion = router, prompts, bank, fusion
        self.to_lm = nn.Linear(qformer.width, bank.width)
        self.skip = nn.Linear(vision.width, bank.width) if skip else None
        self.glance = glance
        self.experts = nn.ModuleList(experts)
        self.special, self.bos_id = dict(special), bos_id
        self.words, self.change, self.cover, self.about = words, change, cover, about
        self.dense = bank.size == 1
        right = torch.tensor([[task in e.tasks for e in experts] for task in task_names()])  # (tasks, E)
        self.register_buffer("right", right, persistent=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Expert names, in the order of the router's columns."""
        return ("dense",) if self.bank.size == 1 else tuple(e.name for e in self.experts)

    def see(self, batch: Batch, *, told: bool = True) -> Sight:
        """Steps 1 and 2. Requests on the same view share its encoding, and its gradient.

        Args:
            told: False leaves out what only a language model reads, ``Sight.cells`` and the tokens of the maps.
        """
        times = batch.pixels.shape[1]
        valid = torch.arange(times, device=batch.frames.device) < batch.frames[:, None]  # (I, T)
        kind = next((p.dtype for p in self.vision.parameters() if p.is_floating_point()), batch.pixels.dtype)
        pixels = batch.pixels[valid].to(kind).contiguous(memory_format=torch.channels_last)
        if batch.features is None:
            seen = self.vision(pixels)  # without the padded frames, which would pollute batch statistics
        else:
            seen = FrozenPart(self.vision).outputs(tuple(level[valid].to(kind) for level in batch.features))
        tokens = seen.tokens.new_zeros(*valid.shape, *seen.tokens.shape[1:])
        tokens[valid] = seen.tokens  # (I, T, N, D)
        last = batch.frames.cumsum(0) - 1  # valid frames lie view after view
        known = {"changes": batch.class_map} if getattr(self.temporal, "reads_changes", False) else {}
        memory = self.temporal(tokens, batch.frames, **known)
        singles, pairs = ((batch.frames == n).nonzero().squeeze(1) for n in (1, 2))
        cover = change = classes = None
        cells = self.glance([level[last] for level in seen.pyramid]) if told and self.glance is not None else None
        if self.cover is not None:
            cover = self.cover([level[last[singles]] for level in seen.pyramid])
            if told:
                of = self.cover.tell(cover, pixels[last[singles]], batch.class_map[singles])
                each, largest = (spread(x, singles, len(tokens)) for x in (of.classes, of.told))
                classes = torch.cat([memory.mean()[:, None], each], dim=1)
                memory = memory.extended(of.told, singles)
                if self.skip is not None:
                    cells = largest if cells is None else torch.cat([cells, largest.to(cells.dtype)], dim=1)
        if self.change is not None:
            second = last[pairs]
            change = self.change([x[second - 1] for x in seen.pyramid], [x[second] for x in seen.pyramid])
            if told:
                found = self.change.tell(change, batch.class_map[pairs])  # (P, 9 + K, D)
                memory = memory.extended(found, pairs)
                if cells is not None:
                    wide = max(cells.shape[1], found.shape[1])
                    cells, found = (F.pad(x, (0, 0, 0, wide - x.shape[1])) for x in (cells, found))
                    cells = cells.index_copy(0, pairs, found.to(cells.dtype))
        return Sight(
            memory=VisualMemory(tokens=memory.tokens[batch.view], mask=memory.mask[batch.view]),
            pyramid=tuple(level[last[batch.view]] for level in seen.pyramid),
            change=change,
            pairs=pairs,
            cover=cover,
            singles=singles,
            classes=None if classes is None else classes[batch.view],
            cells=None if cells is None else cells[batch.view],
        )

    def perceive(self, batch: Batch, *, also: Tensor | None = None) -> Perception:
        """Steps 1 to 4. ``also`` (B, E) bool: experts added to the router's choice, in warm-up only."""
        sight = self.see(batch)
        queries = self.qformer(sight.memory, batch.instruction_ids, batch.instruction_mask)
        visual = self.to_lm(queries)
        if self.skip is not None:
            past = sight.memory.mean()[:, None]  # (B, 1, D)
            past = past if sight.cells is None else torch.cat([past, sight.cells], dim=1)
            visual = torch.cat([self.skip(past), visual], dim=1)
        shown = Shown(tokens=visual, classes=sight.classes)
        return Perception(shown=shown, routing=self._route(queries, batch, also), sight=sight)

    def _route(self, queries: Tensor, batch: Batch, also: Tensor | None) -> Routing:
        if self.dense:
            logits = torch.full((len(queries), self.bank.size), -1e4, device=queries.device)
            logits[:, 0] = 0.0
            return Routing(logits=logits, weights=logits.softmax(-1), chosen=logits == 0.0)
        routing: Routing = self.router(queries, batch.instruction_ids, batch.instruction_mask)
        served = self.right.any(0)  # an expert without a task (the rewriter) is never routed to
        if also is None and bool(served.all()):
            return routing
        return self.router.choose(routing.logits.masked_fill(~served, -1e4), also=also)

    def prefix(self, batch: Batch, shown: Shown, rows: Rows) -> tuple[Tensor, Tensor, Tensor | None]:
        """Step 5: [bos, prompt, queries, instruction] of every row.

        Returns:
            embeds (R, S, D), mask (R, S), and the prompt writer's own loss or None.
        """
        ids, mask = batch.prompt_ids[rows.sample], batch.prompt_mask[rows.sample]
        shown = shown[rows.sample]
        visual = shown.tokens
        prompts = self.prompts(PromptRequest(queries=visual, prompt_ids=ids, prompt_mask=mask, expert=rows.expert))
        soft = self.bank.embed(prompts.ids, rows.expert) if prompts.embeds is None else prompts.embeds
        words = self.bank.embed(ids, rows.expert).to(visual.dtype)
        if self.about is not None and shown.classes is not None:
            words = words + self.about(ids, mask, shown.classes)
        parts = [soft.to(visual.dtype), visual, words]
        masks = [prompts.mask, torch.ones(visual.shape[:2], dtype=torch.bool, device=mask.device), mask]
        if self.bos_id is not None:
            start = self.bank.embed(torch.full_like(rows.sample, self.bos_id)[:, None], rows.expert)
            parts, masks = [start.to(visual.dtype), *parts], [torch.ones_like(masks[1][:, :1]), *masks]
        return torch.cat(parts, dim=1), torch.cat(masks, dim=1), prompts.loss

    def read(self, batch: Batch, *, also: Tensor | None = None) -> Reading:
        """Steps 1 to 6 over given responses: training, scoring, and the heads after generation."""
        perception = self.perceive(batch, also=also)
        rows = perception.routing.rows()
        start, start_mask, prompt_loss = self.prefix(batch, perception.shown, rows)
        hidden, log_p, smooth = self.states(
            start, start_mask, batch.response_ids[rows.sample], batch.response_mask[rows.sample], rows
        )
        return Reading(
            perception=perception,
            rows=rows,
            hidden=hidden,
            log_probability=log_p,
            smooth=smooth,
            prompt_loss=prompt_loss,
        )

    def states(
        self, start: Tensor, start_mask: Tensor, ids: Tensor, mask: Tensor, rows: Rows
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Step 6: prefix (R, S, D) and answers (R, Lr) -> the states that emit the answers, and what they say.

        Short rows and long ones run apart where that saves padding: a batch may hold "yes" and a description, a
        question and the third turn of a dialogue.

        Returns:
            hidden (R, Lr, D), log-probability of each answer token (R, Lr), mean log-probability of all (R, Lr).
            What lies outside of ``mask`` has no meaning.
        """
        parts = by_length(start_mask.sum(1), mask.sum(1))
        if len(parts) == 1:
            return self._states(start, start_mask, ids, mask, rows.expert)
        done = []
        for part in parts:
            longest = int(mask[part].sum(1).max())
            read = start_mask[part].any(0)  # the others are padding in every row
            some = self._states(
                start[part][:, read],
                start_mask[part][:, read],
                ids[part, :longest],
                mask[part, :longest],
                rows.expert[part],
            )
            done.append([widened(value, ids.shape[1]) for value in some])
        back = torch.cat(parts).argsort()
        hidden, log_p, smooth = (torch.cat(values)[back] for values in zip(*done, strict=True))
        return hidden, log_p, smooth

    def _states(
        self, start: Tensor, start_mask: Tensor, ids: Tensor, mask: Tensor, expert: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        embeds = torch.cat([start, self.bank.embed(ids[:, :-1], expert).to(start.dtype)], dim=1)
        seen = torch.cat([start_mask, mask[:, :-1]], dim=1)
        first = start.shape[1] - 1
        hidden = self.bank(embeds, seen, expert, first=first).hidden[:, first:]  # (R, Lr, D)
        log_p = self.bank.logits(hidden, expert).float().log_softmax(-1)
        return hidden, log_p.gather(-1, ids.unsqueeze(-1)).squeeze(-1), log_p.mean(-1)

    def head_inputs(self, batch: Batch, reading: Reading) -> dict[int, HeadInput]:
        """Step 8: for each expert with a special token, the samples whose response holds it.

        A pair has no mask of its own where the model has a map of changes: its [SEG] stands for that map.
        """
        inputs = {}
        mapped = (batch.frames[batch.view] == 2) & (self.change is not None)
        for index, expert in enumerate(self.experts):
            hit = batch.response_ids == self.special.get(expert.token, -1) if expert.token else None
            if hit is not None and isinstance(expert, MaskExpert):
                hit = hit & ~mapped[:, None]
            if hit is None or not bool(hit.any()):
                continue
            sample = hit.any(1).nonzero().squeeze(1)
            place = hit.long().argmax(1)  # first such token
            rows = reading.rows
            state = reading.hidden[torch.arange(len(rows.sample), device=place.device), place[rows.sample]]
            mixed = state.new_zeros(len(batch), state.shape[-1])
            mixed = mixed.index_add(0, rows.sample, state * rows.weight[:, None].to(state.dtype))
            mixed = mixed.to(self.to_lm.weight.dtype)  # heads are of one type, also beside a half-precision base
            text = batch.text_ids[sample], batch.text_mask[sample]
            written = bool(text[1].any(1).all()) and text[1].shape[1] > 0
            inputs[index] = HeadInput(
                hidden=mixed[sample].to(self.to_lm.weight.dtype),  # heads train in fp32 behind a bf16 base
                sample=sample,
                pyramid=reading.perception.sight.pyramid,
                text_hidden=self.read_text(index, *text) if written else None,
            )
        return inputs

    def read_text(self, expert: int, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, Lt) texts without an image -> (n, D): the state after the last word, in that expert."""
        index = torch.full((len(ids),), 0 if self.dense else expert, device=ids.device)
        hidden = self.bank(self.bank.embed(ids, index), mask, index).hidden
        last: Tensor = hidden[torch.arange(len(ids), device=ids.device), mask.sum(1) - 1]
        return last.to(self.to_lm.weight.dtype)

    @torch.no_grad()
    def generate(
        self, batch: Batch, *, end_id: int, beams: int = 1, max_new: int = 64
    ) -> tuple[list[list[int]], Perception]:
        """Answers B requests; the task labels of the batch are not read.

        Returns:
            token ids of each answer (without the end token), and the perception with its routing.
        """
        perception = self.perceive(batch)
        return self.fusion.generate(self, batch, perception, end_id=end_id, beams=beams, max_new=max_new), perception

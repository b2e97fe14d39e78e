"""The mixture of experts: pixels -> memory -> queries -> routing -> rows -> experts -> one text, and heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from rsmoe.data.batch import Batch
from rsmoe.data.tasks import task_names
from rsmoe.experts import Bank
from rsmoe.experts.answer_states import answer_states
from rsmoe.experts.expert import Expert, HeadInput
from rsmoe.generation import Fusion
from rsmoe.generation.decoding import Decoding, OnToken
from rsmoe.maps import MapModule, MapTokens
from rsmoe.maps.noun_grounding import NounGrounding
from rsmoe.perception import Perception, Reading, SeenMap, Sight, VisualPrefix
from rsmoe.qformer import QFormer
from rsmoe.qformer.bypass import VisualBypass
from rsmoe.qformer.region_token import RegionToken
from rsmoe.router import PromptWriter, Router
from rsmoe.router.prompts import PromptRequest
from rsmoe.router.request import RouterRequest
from rsmoe.router.routing import Routing, Rows
from rsmoe.temporal import TemporalInput, TemporalModule
from rsmoe.temporal.memory import VisualMemory
from rsmoe.vision import VisionEncoder
from rsmoe.vision.frozen import FrozenPart


class RSMoE(nn.Module):
    """Mixture of LLM experts behind one perception path.

    1. vision: pixels of all valid frames -> tokens and pyramid
    2. temporal: tokens of the dates -> visual memory; maps: pyramids of one or two dates -> classes of pixels
    3. qformer: memory, tokens of the maps, instruction -> queries, projected to the language model's width
    4. router: instruction + queries -> experts, weights
    5. prompts: one per chosen (sample, expert) row
    6. bank: every row through its own expert, in one pass
    7. fusion: the rows of a sample -> one next-token distribution; it also decides which rows there are
    8. heads: hidden states that emit [SEG] or [RET] -> masks, embeddings

    Training, scoring and generation all go through `see`, `perceive`, `start` and the bank: there is no second path.

    Args:
        maps: name -> dense prediction module; the language model reads its tokens after the visual memory.
        experts: E experts in the bank's order; with a bank of one adapter (``moe=none``) only their heads are used.
        special: id of each special token in the language model's vocabulary.
        bypass: passes visual tokens to the language model beside those of the Q-Former, which helps a model that starts
            from random weights.
        regions: makes a token of the region that a request is about, which the language model reads behind the others.
        nouns: noun grounding: adds, to each word of the instruction that names a land cover class, the map's token of
            that class.
        bos_id: put before every row, where the language model was trained with one.
    """

    serves_task: Tensor

    def __init__(
        self,
        *,
        vision: VisionEncoder,
        temporal: TemporalModule,
        maps: Mapping[str, MapModule],
        qformer: QFormer,
        router: Router,
        prompts: PromptWriter,
        bank: Bank,
        fusion: Fusion,
        experts: Sequence[Expert],
        special: Mapping[str, int],
        bypass: VisualBypass | None = None,
        regions: RegionToken | None = None,
        nouns: NounGrounding | None = None,
        bos_id: int | None = None,
    ) -> None:
        super().__init__()
        self.vision, self.temporal, self.qformer = vision, temporal, qformer
        self.maps: Mapping[str, MapModule] = nn.ModuleDict(maps)  # type: ignore[arg-type, assignment]
        self.router, self.prompts, self.bank, self.fusion = router, prompts, bank, fusion
        self.to_lm = nn.Linear(qformer.width, bank.width)
        self.bypass, self.regions, self.nouns = bypass, regions, nouns
        self.experts: Sequence[Expert] = nn.ModuleList(experts)  # type: ignore[assignment]
        self.special, self.bos_id = dict(special), bos_id
        self.dense = bank.size == 1
        serves = torch.tensor([[task in e.tasks for e in experts] for task in task_names()])  # (tasks, E)
        self.register_buffer("serves_task", serves, persistent=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Expert names, in the order of the router's columns."""
        return ("dense",) if self.bank.size == 1 else tuple(e.name for e in self.experts)

    def see(self, batch: Batch) -> Sight:
        """Steps 1 and 2: every view is encoded once, however many requests are about it."""
        frames, times = batch.frames, batch.pixels.shape[1]
        valid = torch.arange(times, device=frames.device) < frames[:, None]  # (V, T)
        dtype = next((p.dtype for p in self.vision.parameters() if p.is_floating_point()), batch.pixels.dtype)
        # padded frames are left out: they would change batch statistics; channels_last is a quarter faster on CPU
        if batch.features is None:
            seen = self.vision(batch.pixels[valid].to(dtype).contiguous(memory_format=torch.channels_last))
        else:
            seen = FrozenPart(self.vision).outputs(tuple(level[valid].to(dtype) for level in batch.features))
        tokens = seen.tokens.new_zeros(*valid.shape, *seen.tokens.shape[1:])
        tokens[valid] = seen.tokens  # (V, T, N, D)
        dates = TemporalInput(tokens=tokens, frames=frames, class_map=batch.class_map, times=batch.times)
        last = frames.cumsum(0) - 1  # valid frames lie view after view
        maps = {}
        for name, part in self.maps.items():
            views = (frames == part.dates).nonzero().squeeze(1)
            places = [last[views] - back for back in reversed(range(part.dates))]
            evidence = part([[level[place] for level in seen.pyramid] for place in places])
            maps[name] = SeenMap(views=views, evidence=evidence)
        return Sight(memory=self.temporal(dates), pyramid=tuple(level[last] for level in seen.pyramid), maps=maps)

    def perceive(
        self, batch: Batch, *, sight: Sight | None = None, truth: Tensor | None = None, also: Tensor | None = None
    ) -> Perception:
        """Steps 1 to 4: what the language model reads.

        Args:
            sight: of the batch; None sees it now.
            truth: (V, H, W) uint8 true maps, used in place of the predicted ones; 255 keeps the prediction.
            also: (B, E) bool, experts added to the router's choice, in warm-up only.
        """
        sight = self.see(batch) if sight is None else sight
        described, compared, classes = self._describe(batch, sight, truth)
        memory = sight.memory.joined(described)
        queries = self.qformer(memory[batch.view], batch.instruction_ids, batch.instruction_mask)  # (B, M, D)
        visual = VisualMemory.of(self.to_lm(queries))
        if self.bypass is not None:
            visual = self.bypass(memory, described, sight.pyramid, compared)[batch.view].joined(visual)
        if self.regions is not None and batch.regions is not None:
            visual = visual.joined(self.regions(sight.pyramid, batch.view, batch.regions))
        if self.nouns is not None and classes is not None:
            classes = torch.cat([sight.memory.mean()[:, None], classes], dim=1)[batch.view]
        prefix = VisualPrefix(tokens=visual.tokens, mask=visual.mask, classes=None if self.nouns is None else classes)
        routing = (
            Routing.single(len(batch), experts=self.bank.size, device=queries.device)
            if self.dense
            else self.router(
                RouterRequest(
                    queries=queries,
                    memory=memory.mean()[batch.view],
                    instruction_ids=batch.instruction_ids,
                    instruction_mask=batch.instruction_mask,
                    allowed=self.serves_task.any(0),
                    also=also,
                    right=self.serves_task[batch.task] if self.router.reads_label else None,
                )
            )
        )
        return Perception(prefix=prefix, routing=routing, sight=sight)

    def _describe(self, batch: Batch, sight: Sight, truth: Tensor | None) -> tuple[VisualMemory, Tensor, Tensor | None]:
        """Map tokens (V, n, D); (V,) bool, the views whose dates a map compares; class tokens (V, K, D) or None."""
        count, classes = len(batch.frames), None
        described = VisualMemory.of(sight.memory.tokens[:, :0])
        compared = torch.zeros_like(batch.frames, dtype=torch.bool)
        for name, seen in sight.maps.items():
            part, views = self.maps[name], seen.views
            shown: MapTokens = part.tokens(
                seen.evidence, pixels=batch.pixels[views], truth=None if truth is None else truth[views]
            )
            described = described.joined(VisualMemory(tokens=shown.tokens, mask=shown.mask).spread(views, count))
            if part.dates > 1:
                compared[views] = True
            if shown.classes is not None:
                classes = VisualMemory.of(shown.classes).spread(views, count).tokens
        return described, compared, classes

    def start(self, batch: Batch, prefix: VisualPrefix, rows: Rows) -> tuple[Tensor, Tensor, Tensor | None]:
        """Step 5: input embeddings of every row, [bos, prompt, visual tokens, instruction].

        Returns:
            embeds (R, S, D), mask (R, S), and the prompt writer's own loss or None.
        """
        ids, mask = batch.prompt_ids[rows.sample], batch.prompt_mask[rows.sample]
        prefix = prefix[rows.sample]
        visual = prefix.tokens
        prompts = self.prompts(
            PromptRequest(
                queries=visual,
                queries_mask=prefix.mask,
                prompt_ids=ids,
                prompt_mask=mask,
                expert=rows.expert,
                share=rows.share,
            )
        )
        if prompts.embeds is not None:
            soft = prompts.embeds
        else:
            assert prompts.ids is not None, "a prompt writer gives soft tokens or ids"
            soft = self.bank.embed(prompts.ids, rows.adapters)
        words = self.bank.embed(ids, rows.adapters).to(visual.dtype)
        if self.nouns is not None and prefix.classes is not None:
            words = words + self.nouns(ids, mask, prefix.classes)
        parts, masks = [soft.to(visual.dtype), visual, words], [prompts.mask, prefix.mask, mask]
        if self.bos_id is not None:
            first = self.bank.embed(torch.full_like(rows.sample, self.bos_id)[:, None], rows.adapters)
            parts, masks = [first.to(visual.dtype), *parts], [torch.ones_like(masks[1][:, :1]), *masks]
        return torch.cat(parts, dim=1), torch.cat(masks, dim=1), prompts.loss

    def read(self, batch: Batch, perception: Perception | None = None, *, rows: Rows | None = None) -> Reading:
        """Steps 5 and 6 on given responses (teacher forcing): in training, scoring, and for the heads after generation.

        Args:
            perception: of the batch; None perceives it now.
            rows: some of those that the fusion makes of its routing; None takes all.
        """
        perception = self.perceive(batch) if perception is None else perception
        rows = self.fusion.rows(perception.routing) if rows is None else rows
        start, start_mask, prompt_loss = self.start(batch, perception.prefix, rows)
        ids, mask = batch.response_ids[rows.sample], batch.response_mask[rows.sample]
        answer = answer_states(self.bank, start, start_mask, ids, mask, rows.adapters)
        return Reading(
            perception=perception,
            rows=rows,
            hidden=answer.hidden,
            log_probability=answer.log_probability,
            smooth=answer.smooth,
            gates=answer.gates,
            prompt_loss=prompt_loss,
        )

    def head_inputs(self, batch: Batch, reading: Reading) -> dict[int, HeadInput]:
        """Input of step 8: index of an expert -> hidden states that emit its special token, if a response holds it."""
        inputs, rows, sight = {}, reading.rows, reading.perception.sight
        compared = batch.frames.new_zeros(len(batch.frames), dtype=torch.bool)
        for name, seen in sight.maps.items():
            compared[seen.views] |= self.maps[name].dates > 1
        for index, expert in enumerate(self.experts):
            hit = batch.response_ids == self.special.get(expert.token or "", -1)
            if not bool(hit.any()):
                continue
            sample, place = hit.nonzero(as_tuple=True)  # of each of the n tokens
            token, row = (sample[:, None] == rows.sample).nonzero(as_tuple=True)
            state = reading.hidden[row, place[token]] * rows.weight[row, None].to(reading.hidden.dtype)
            mixed = state.new_zeros(len(sample), state.shape[-1]).index_add(0, token, state)
            text = batch.text_ids[sample], batch.text_mask[sample]
            written = bool(text[1].any(1).all()) and text[1].shape[1] > 0
            view = batch.view[sample]
            inputs[index] = HeadInput(
                hidden=mixed.to(self.to_lm.weight.dtype),  # heads train in fp32 behind a bf16 base
                sample=sample,
                view=view,
                pyramid=sight.pyramid,
                compared=compared[view],
                text_hidden=self.read_text(index, *text) if written else None,
            )
        return inputs

    def read_text(self, expert: int, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, Lt) token ids of texts without an image -> (n, D): one expert's hidden state after the last token."""
        index = torch.full((len(ids),), 0 if self.dense else expert, device=ids.device)
        hidden = self.bank(self.bank.embed(ids, index), mask, index).hidden
        last: Tensor = hidden[torch.arange(len(ids), device=ids.device), mask.sum(1) - 1]
        return last.to(self.to_lm.weight.dtype)

    @torch.no_grad()
    def generate(
        self,
        batch: Batch,
        perception: Perception | None = None,
        *,
        end_id: int,
        beams: int = 1,
        max_new: int = 64,
        each: Sequence[Decoding] | None = None,
        on_token: OnToken | None = None,
    ) -> list[list[int]]:
        """Token ids of the answer to each of B requests, without the end token; the task labels are not read.

        Args:
            perception: of the batch; None perceives it now.
            max_new: most tokens of any answer.
            each: settings of every request, within ``max_new``; None: greedy or beams for all.
            on_token: see `rsmoe.generation.decoding.OnToken`.
        """
        perception = self.perceive(batch) if perception is None else perception
        given = [Decoding(max_new=max_new)] * len(batch) if each is None else each
        own = [replace(one, max_new=min(one.max_new, max_new)) for one in given]
        return self.fusion.generate(self, batch, perception, end_id=end_id, beams=beams, each=own, on_token=on_token)

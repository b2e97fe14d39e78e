"""One causal language model, one LoRA adapter per expert, all rows of a mixed batch in one pass."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Depth, Fraction, Positive, PositiveReal
from rsmoe.errors import UserError
from rsmoe.experts.base_export import published_name, write_base
from rsmoe.experts.lora import GroupedLoRA, is_conv1d
from rsmoe.experts.new_words import NewWords
from rsmoe.experts.output import BankOutput
from rsmoe.experts.peft_format import read_adapter, write_adapter
from rsmoe.experts.rows import RowExperts, checkpoint_contexts, using
from rsmoe.router.routing import Routing


class ExpertBank(nn.Module):
    """E experts on one shared base; what trains is decided by name, ``lora_A`` and ``lora_B`` being the adapters.

    1. embeddings and the expert of each row -> the base's decoder, every adapted layer reading the row's expert
    2. last hidden states -> the base's output layer, only where logits are asked for

    Args:
        lm: a `rsmoe.experts.llama.Llama` or any Hugging Face causal LM; it is changed in place.
        experts: E.
        rank: r of every adapter.
        alpha: updates are scaled by alpha / r.
        targets: names of the linear layers that are adapted, as PEFT's ``target_modules`` (last parts of a path).
        dropout: on the input of the adapters.
        shared: one more adapter, which is always on; upcycling leaves it as it is.
        shared_a: all experts have one A.
        new_words: ids of words that a pretrained ``lm`` did not have, see `NewWords`.
        checkpointing: recompute activations in the backward pass.

    Raises:
        UserError: a target that no layer of the decoder has, or a model that rescales its logits.
    """

    sums_adapters = True
    terms: Mapping[str, float] = {}

    def __init__(
        self,
        *,
        lm: nn.Module,
        experts: Depth,
        rank: Positive,
        alpha: PositiveReal,
        targets: Sequence[str],
        dropout: Fraction = 0.0,
        shared: bool = False,
        shared_a: bool = False,
        new_words: Sequence[int] = (),
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if experts < 1 or rank < 1:
            raise UserError(f"a bank needs at least one expert and rank 1, got experts={experts} rank={rank}")
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
            if getattr(lm.config, name, None) not in (None, 1, 1.0):
                raise UserError(
                    f"{type(lm).__name__} rescales its logits ({name}={getattr(lm.config, name)}), which the bank does "
                    "not do; choose a model of the Llama, Qwen, Mistral, Phi, OPT or GPT families, or set it to null"
                )
        self.size, self.targets = experts, tuple(targets)
        self.lm = cast(Any, lm)
        adapter = {"experts": experts, "rank": rank, "alpha": alpha, "dropout": dropout}
        _adapt(lm, targets=self.targets, shared=shared, shared_a=shared_a, **adapter)
        tied = self.lm.get_output_embeddings().weight is self._table.weight
        self.words = NewWords(new_words, width=self.width, tied=tied) if new_words else None
        self.takes_positions = "position_ids" in inspect.signature(self.lm.base_model.forward).parameters
        if checkpointing:
            self.lm.activation_checkpointing_enable({"use_reentrant": False, "context_fn": checkpoint_contexts})
            self.lm.disable_input_require_grads()  # only re-entrant checkpoints need gradients of a frozen embedding

    @property
    def base(self) -> Any:
        """The language model that the experts share."""
        return self.lm

    @property
    def width(self) -> int:
        """D of the embeddings and hidden states."""
        return self._table.embedding_dim

    @property
    def vocab_size(self) -> int:
        """V, with the tokens that were added."""
        return self._table.num_embeddings

    @property
    def _table(self) -> nn.Embedding:
        table = self.lm.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        return table

    def embed(self, ids: Tensor, expert: Tensor) -> Tensor:
        """(R, L) token ids -> (R, L, D). All experts share one table: ``expert`` (R,) is for `SeparateBank`."""
        embedded: Tensor = self._table(ids)
        return embedded if self.words is None else self.words.embedded(ids, embedded)

    def forward(self, embeds: Tensor, mask: Tensor, expert: Tensor, cache: Any = None) -> BankOutput:
        """Runs every row through its own expert.

        Args:
            embeds: (R, L, D).
            mask: (R, S) bool, S = cached positions + L; padding may lie on the left.
            expert: (R,) long, ascending; or (R, E) float, the weights w of a sum of adapters in the layers that have
                them, W x + (alpha / r) sum_e w_e B_e A_e x, the rows in the order of the expert that weighs most.
            cache: "new" to start one, or the ``cache`` of the output before; it is extended in place.
        """
        inputs: dict[str, Any] = {"attention_mask": mask.long()}
        if self.takes_positions:
            position = mask.long().cumsum(-1) - 1
            inputs["position_ids"] = position.clamp_min(0)[:, -embeds.shape[1] :]
        if cache is not None and not isinstance(cache, str):
            inputs["past_key_values"] = cache
        rows = self.rows_of(expert)
        with using(rows):
            out = self.lm.base_model(
                inputs_embeds=embeds.to(self._table.weight.dtype), use_cache=cache is not None, **inputs
            )
        gates = {} if rows.gates is None else rows.gates.chosen
        kept = None if cache is None else out.past_key_values
        return BankOutput(hidden=out.last_hidden_state, cache=kept, gates=gates)

    def rows_of(self, expert: Tensor) -> RowExperts:
        """What adapted layers read of the rows of a pass, see `forward`."""
        return RowExperts.of(expert, experts=self.size)

    def losses(self, gates: Mapping[str, Routing]) -> dict[str, Tensor]:
        """Of a pass, by the names of ``terms``: a bank whose rows have one expert each has none."""
        return {}

    def logits(self, hidden: Tensor, expert: Tensor) -> Tensor:
        """(R, ..., D) -> (R, ..., V). All experts share the output layer: ``expert`` is for `SeparateBank`."""
        projected: Tensor = self.lm.get_output_embeddings()(hidden)
        return projected if self.words is None else self.words.logits(hidden, projected)

    def select(self, cache: Any, expert: Tensor, index: Tensor) -> Any:
        """Keeps the rows ``index`` (R',) of a cache, in that order, repeats allowed: beams spread and move.

        Args:
            expert: (R,) expert of each row before the selection.
        """
        cache.batch_select_indices(index)
        return cache

    @torch.no_grad()
    def upcycle(self, source: int) -> None:
        """Makes every expert compute what expert ``source`` does, by copying its adapter.

        Of one that adds nothing, B = 0, only B is copied: each expert keeps an A of its own, so that experts with one
        target do not learn one update.
        """
        for layer in self.adapted().values():
            if bool(layer.lora_B[source].any()) and len(layer.lora_A) > 1:
                layer.lora_A.copy_(layer.lora_A[source].clone().expand_as(layer.lora_A))
            layer.lora_B.copy_(layer.lora_B[source].clone().expand_as(layer.lora_B))

    def rest(self) -> bool:
        """Leaves adapters out of the pass where none can change a number: all are frozen, and every B is zero.

        A quarter of the time of a dense stage that trains the base itself. To be asked again before each stage.

        Returns:
            whether they are left out.
        """
        layers = self.adapted().values()
        idle = not any(p.requires_grad for x in layers for p in x.parameters(recurse=False))
        idle = idle and not any(bool(x.factors()[1].any()) for x in layers)
        for layer in layers:
            layer.asleep = idle
        return idle

    def save_adapter(self, index: int, folder: str | Path, *, base: str | Path | None = None) -> None:
        """Writes one expert's adapter for ``peft.PeftModel.from_pretrained``; see `peft_format.write_adapter`.

        It names the checkpoint that the language model came from. Where that has other weights by now (tuned, grown for
        new tokens, or begun at random), the model is written beside the adapter, and named.

        Args:
            base: folder for the model, which experts can share; by default ``<folder>-base``.
        """
        name = published_name(self.lm, self.words)
        if name is None:
            home = Path(f"{Path(folder).absolute()}-base") if base is None else Path(base)
            write_base(self.lm, home, words=self.words)
            name = str(home.absolute())
        write_adapter(self.adapted(), index, Path(folder), base=name, targets=self.targets)

    def save_adapters(self, names: Sequence[str], folder: Path) -> None:
        """Writes every expert's adapter into a folder of its name, and the base, where it is no published one, once.

        Args:
            names: of the experts, in their order.
            folder: for ``<name>/`` and ``base/``.
        """
        base = published_name(self.lm, self.words)
        if base is None:
            write_base(self.lm, folder / "base", words=self.words)
            base = str((folder / "base").absolute())
        for index, name in enumerate(names):
            write_adapter(self.adapted(), index, folder / name, base=base, targets=self.targets)

    def load_adapter(self, index: int, folder: str | Path) -> None:
        """Reads an adapter that PEFT or `save_adapter` wrote; see `peft_format.read_adapter`."""
        read_adapter(self.adapted(), index, Path(folder))

    def adapted(self) -> dict[str, GroupedLoRA]:
        """The adapted layers by their path in the base model."""
        return {name: m for name, m in self.lm.named_modules() if isinstance(m, GroupedLoRA)}


def _adapt(lm: Any, *, targets: Sequence[str], **adapter: Any) -> None:
    """Puts a `GroupedLoRA` around every target of the decoder; the output layer is never one."""
    linear = {n: m for n, m in lm.base_model.named_modules() if isinstance(m, nn.Linear) or is_conv1d(m)}
    chosen = {n: m for n, m in linear.items() if any(n == t or n.endswith(f".{t}") for t in targets)}
    missing = [t for t in targets if not any(n == t or n.endswith(f".{t}") for n in chosen)]
    if missing or not chosen:
        known = sorted({n.rsplit(".", 1)[-1] for n in linear})
        raise UserError(f"{type(lm).__name__} has no layers {missing}; set bank.targets to some of {known}")
    for name, layer in chosen.items():
        block = name.rpartition(".")[0]
        lm.base_model.set_submodule(name, GroupedLoRA(base_layer=layer, block=block, **adapter))

"""One causal language model per expert (``share_base: false``), behind the interface of the shared bank."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Depth, Fraction, Positive, PositiveReal
from rsmoe.errors import UserError
from rsmoe.experts.bank import ExpertBank
from rsmoe.experts.output import BankOutput
from rsmoe.router.routing import Routing


class SeparateBank(nn.Module):
    """E banks of one expert each: the same numbers as `ExpertBank` for the same weights, E times its memory.

    Args:
        lm: one model, copied for every expert, or one per expert: any families with one vocabulary and one width.
        experts, rank, alpha, targets, dropout, checkpointing: as in `ExpertBank`.

    Raises:
        UserError: models that differ in number, vocabulary or width; and as `ExpertBank`.
    """

    sums_adapters = False
    terms: Mapping[str, float] = {}

    def __init__(
        self,
        *,
        lm: nn.Module | Sequence[nn.Module],
        experts: Depth,
        rank: Positive,
        alpha: PositiveReal,
        targets: Sequence[str],
        dropout: Fraction = 0.0,
        new_words: Sequence[int] = (),
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        lms = [lm, *(copy.deepcopy(lm) for _ in range(experts - 1))] if isinstance(lm, nn.Module) else list(lm)
        if len(lms) != experts or experts < 1:
            raise UserError(f"{len(lms)} language models for {experts} experts; give one model, or one per expert")
        options: dict[str, Any] = {"targets": targets, "dropout": dropout, "new_words": new_words}
        options |= {"checkpointing": checkpointing}
        banks = [ExpertBank(lm=each, experts=1, rank=rank, alpha=alpha, **options) for each in lms]
        shapes = [(bank.vocab_size, bank.width) for bank in banks]
        if len(set(shapes)) > 1:
            raise UserError(
                f"the experts' language models have (vocabulary, width) {shapes}; their next-token distributions can "
                "be mixed only over one vocabulary, and one width reads the visual queries"
            )
        self.banks: Sequence[ExpertBank] = nn.ModuleList(banks)  # type: ignore[assignment]
        self.size, self.width, self.vocab_size = experts, banks[0].width, banks[0].vocab_size

    @property
    def base(self) -> Any:
        """The language model of expert 0."""
        return self.banks[0].lm

    def embed(self, ids: Tensor, expert: Tensor) -> Tensor:
        """(R, L) token ids -> (R, L, D), each row with the table of its ``expert`` (R,)."""
        return self._by_expert("embed", ids, expert)

    def forward(self, embeds: Tensor, mask: Tensor, expert: Tensor, cache: Any = None) -> BankOutput:
        """As `ExpertBank.forward`; the cache is a tuple with one entry per expert, None where it has no rows."""
        caches = (cache,) * self.size if cache is None or isinstance(cache, str) else cache
        outputs: list[BankOutput | None] = []
        for index, bank in enumerate(self.banks):
            place = expert == index
            rows = torch.zeros_like(expert[place])
            outputs.append(bank(embeds[place], mask[place], rows, cache=caches[index]) if len(rows) else None)
        hidden = torch.cat([out.hidden for out in outputs if out is not None])
        if torch.is_grad_enabled():
            # every parameter takes part in every pass: DDP waits for a gradient, also of an expert without rows
            hidden = hidden + sum(p.reshape(-1)[:0].sum() for p in self.parameters() if p.requires_grad)
        kept = None if cache is None else tuple(out and out.cache for out in outputs)
        return BankOutput(hidden=hidden, cache=kept)

    def logits(self, hidden: Tensor, expert: Tensor) -> Tensor:
        """(R, ..., D) -> (R, ..., V), each row through the output layer of its ``expert`` (R,)."""
        return self._by_expert("logits", hidden, expert)

    def losses(self, gates: Mapping[str, Routing]) -> dict[str, Tensor]:
        """None, as `ExpertBank.losses`."""
        return {}

    def select(self, cache: Any, expert: Tensor, index: Tensor) -> Any:
        """As `ExpertBank.select`."""
        chosen = expert[index]
        start = torch.searchsorted(expert, torch.arange(self.size, device=expert.device))
        return tuple(
            None if part is None else bank.select(part, expert, index[chosen == e] - start[e])
            for e, (bank, part) in enumerate(zip(self.banks, cache, strict=True))
        )

    def rest(self) -> bool:
        """`ExpertBank.rest` of every expert."""
        return all([bank.rest() for bank in self.banks])

    def upcycle(self, source: int) -> None:
        """Copies the whole model of expert ``source`` into every other.

        Raises:
            UserError: the experts are models of different architectures.
        """
        state = self.banks[source].state_dict()
        shapes = {name: tensor.shape for name, tensor in state.items()}
        for bank in self.banks:
            if {name: tensor.shape for name, tensor in bank.state_dict().items()} != shapes:
                raise UserError("upcycling copies one expert into all: their language models must be of one kind")
        for bank in self.banks:
            bank.load_state_dict(state)

    def save_adapter(self, index: int, folder: str | Path, *, base: str | Path | None = None) -> None:
        """As `ExpertBank.save_adapter`; the adapter fits the base model of that expert."""
        self.banks[index].save_adapter(0, folder, base=base)

    def save_adapters(self, names: Sequence[str], folder: Path) -> None:
        """As `ExpertBank.save_adapters`, with a base for each: ``<name>-base/``."""
        for bank, name in zip(self.banks, names, strict=True):
            bank.save_adapter(0, folder / name)

    def load_adapter(self, index: int, folder: str | Path) -> None:
        """As `ExpertBank.load_adapter`."""
        self.banks[index].load_adapter(0, folder)

    def _by_expert(self, method: str, x: Tensor, expert: Tensor) -> Tensor:
        parts = []
        for index, bank in enumerate(self.banks):
            place = expert == index
            if bool(place.any()):
                parts.append(getattr(bank, method)(x[place], expert[place]))
        return torch.cat(parts)  # rows are sorted by expert

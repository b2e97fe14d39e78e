"""Experts contract: rows -> hidden states and next-token logits, in one pass; heads on special tokens.

**Bank** (`bank.ExpertBank`): a causal LM with one LoRA adapter per expert (``share_base: true``), or one LM per expert.

- ``embed(ids: (R, L), expert: (R,)) -> (R, L, D)``; ``width: int`` D; ``vocab_size: int``; ``size: int`` E;
- ``forward(embeds: (R, L, D), mask: (R, S) bool, expert: (R,) long ascending, cache=None, first=0) -> BankOutput``;
  S counts the cached positions too; positions follow from the mask, so left padding is free; ``cache="new"`` starts a
  cache, and ``select(cache, expert, rows)`` reorders it; hidden states before ``first`` are not asked for;
- ``logits(hidden, expert) -> (..., V)``: apart from ``forward``, so that only answer positions are projected;
- ``upcycle(source: int)``: copies one expert's adapter into every other;
- ``rest() -> bool``: leaves adapters out of the pass while they can change nothing;
- ``save_adapter(index, folder)`` / ``load_adapter(index, folder)``: PEFT's own format.

**Expert** (`expert.Expert`): name, tasks, template, and, where it has one, a special token with a head on its hidden
state (`mask.MaskExpert`: [SEG] -> mask logits, `retrieval.RetrievalExpert`: [RET] -> embedding).
An expert is one yaml in ``conf/expert/`` and, when it has a head, one file here.

How the rows of one request become one text: `rsmoe.generation`.
"""

from rsmoe.experts.output import BankOutput

__all__ = ["BankOutput"]

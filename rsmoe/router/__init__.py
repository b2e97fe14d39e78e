"""Router contract: instruction + queries -> `Routing`, then one prompt per chosen (sample, expert) row.

A **router** is an ``nn.Module`` in one file with one yaml in ``conf/router/``; its constructor takes ``width`` (of the
queries), ``vocab_size`` and ``experts`` (the number E):

- ``forward(queries: (B, M, D), instruction_ids: (B, L), instruction_mask: (B, L)) -> Routing``.
  It never sees the task label; the gate runs in fp32.
- ``choose(logits: (B, E), *, also: (B, E) bool | None = None) -> Routing``: its selection alone, for logits in which
  experts without a task are ruled out, and with experts ``also`` added while training teaches routes.

A **prompt writer** is an ``nn.Module`` in one file with one yaml in ``conf/prompts/``:

- ``forward(PromptRequest) -> Prompts`` for the R rows of the batch (`prompts.PromptRequest`, `prompts.Prompts`);
- ``upcycle(source: int)`` copies one expert's parameters to every expert;
- its constructor takes ``width`` (of the language model), ``vocab_size`` and ``templates`` (token ids per expert).
"""

from rsmoe.router.routing import Routing

__all__ = ["Routing"]

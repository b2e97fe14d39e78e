"""Router contract: instruction and visual queries -> `Routing`, then one prompt per chosen (sample, expert) row.

A router, a choice, a balance and a prompt writer are ``nn.Module``s, each one file with one yaml in ``conf/router/``,
``conf/choice/``, ``conf/balance/``, ``conf/prompts/``. Their constructors take, beside options of their own:

- a router: ``width`` (of the queries), ``memory_width``, ``vocab_size``, ``experts`` (the number E), ``choice``,
  ``balance``;
- a choice: ``width`` (of the gate's hidden state), ``experts``;
- a balance: ``experts``;
- a prompt writer: ``width`` (of the language model), ``vocab_size``, ``templates`` (token ids per expert).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from rsmoe.router.prompts import PromptRequest, Prompts
from rsmoe.router.request import RouterRequest
from rsmoe.router.routing import Routing

__all__ = ["Balance", "Choice", "PromptWriter", "Router", "Routing"]


@runtime_checkable
class Choice(Protocol):
    """Selection of experts by the logits of a gate."""

    def __call__(self, logits: Tensor, *, by: Tensor, state: Tensor) -> Routing:
        """At least one expert for each of B requests; at inference, the choice for one must not depend on the others.

        Args:
            logits: (B, E) fp32, from which the weights are computed; `RULED_OUT` where an expert may not be chosen.
            by: (B, E) logits with the bias of `Balance` added, by which experts are chosen.
            state: (B, width) hidden state of the gate.
        """


@runtime_checkable
class Balance(Protocol):
    """What keeps the load of the experts even."""

    @property
    def bias(self) -> Tensor | None:
        """(E,), added to the logits by which experts are chosen; None adds nothing."""

    def __call__(self, routing: Routing) -> Tensor:
        """Loss of a batch, a scalar; in training, loads are means over the batches of all ranks."""


class Router(Protocol):
    """Gate over E experts, in fp32."""

    reads_label: bool
    """Whether it is given the label of the task (`RouterRequest.right`): True of ``router=oracle`` alone."""
    balance: Balance | None
    """None for a router that learns nothing: it has no losses, and ``teach_routing_steps`` has no effect on it."""

    def __call__(self, request: RouterRequest) -> Routing:
        """Experts and their weights for each of B requests."""


class PromptWriter(Protocol):
    """Sub-instructions, as soft tokens or as words."""

    reads_templates: bool
    """Whether the templates of the experts have an effect."""
    terms: Mapping[str, float]
    """Names of its own losses and their weights; {}: it has none."""

    def __call__(self, request: PromptRequest) -> Prompts:
        """One prompt for each of R rows."""

    def upcycle(self, source: int) -> None:
        """Copies one expert's parameters to every expert."""

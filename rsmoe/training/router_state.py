"""Router diagnostics of one batch: accuracy, entropy and load of every expert."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rsmoe.router import Routing


def router_state(routing: Routing, right: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Curves "router/..." of a batch of B requests, scalars.

    Args:
        routing: of the batch.
        right: (B, E) bool, experts that serve the task of each request.
        names: of the E experts.

    Returns:
        accuracy: share of requests whose first expert serves their task; entropy of the gate in nats; load/<expert>:
        mean weight of each expert, 1 in sum.
    """
    p = routing.logits.detach().softmax(-1)
    load = routing.weights.detach().mean(0)
    return {
        "router/accuracy": right.gather(1, p.argmax(-1, keepdim=True)).float().mean(),
        "router/entropy": -(p * p.clamp_min(1e-12).log()).sum(-1).mean(),
        **{f"router/load/{name}": share for name, share in zip(names, load, strict=True)},
    }

"""Metric states that are rows of plain values, and how they travel between ranks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


def gather_rows(state: Tensor, group: Any = None) -> list[Tensor]:
    """A state from every rank, of any length, without the ranks that saw no sample.

    torchmetrics' own gather stops the job when one rank is empty and the state is not a float vector: it pads to a
    common shape, and the empty stand-in has another dtype and number of dimensions.
    """
    parts: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(parts, state.detach().cpu(), group=group)
    return [part.to(state.device) for part in parts if part.numel()] or [state]


class RowMetric(Metric):
    """A metric over rows that are known only as text: captions, question types, answers.

    One state, uint8: UTF-8 json, one line a row. It survives ``cat`` in any order, every backend can gather it, and
    `rows` returns it sorted, so that no sum depends on the order of samples, updates or ranks.

    Args:
        kwargs: of ``torchmetrics.Metric`` (``sync_on_compute``, ``process_group`` ...).
    """

    full_state_update = False
    packed: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dist_sync_fn=kwargs.pop("dist_sync_fn", gather_rows), **kwargs)
        self.add_state("packed", default=[], dist_reduce_fx="cat")

    def append(self, rows: Iterable[list[Any]]) -> None:
        """Adds rows of plain json values to the state."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if text:
            self.packed.append(torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).to(self.device))

    def rows(self) -> list[list[Any]]:
        """Every row of the state, in an order that does not depend on that of the updates."""
        parts = self.packed if isinstance(self.packed, list) else [self.packed]  # one tensor after a sync
        text = b"".join(part.cpu().numpy().tobytes() for part in parts)
        return [json.loads(line) for line in sorted(text.splitlines())]

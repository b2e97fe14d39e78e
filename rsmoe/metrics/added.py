"""Metrics that come by config, ``+metric=<name>``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsmoe.errors import UserError
from rsmoe.metrics.metric import Metric
from rsmoe.parts import instantiate


def added_metrics(nodes: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Metric]:
    """The metrics that configs name, ``+metric=<name>``; raises `UserError` for what is none."""
    found = {name: instantiate(node) for name, node in (nodes or {}).items()}
    for name, metric in found.items():
        if not isinstance(metric, Metric):
            raise UserError(
                f"evaluation.metrics.{name}: expected a rsmoe.metrics.Metric (it has a protocol and a tally), found "
                f"{type(metric).__name__}"
            )
    return found

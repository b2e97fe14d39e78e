"""Answers about change in their structured form: what was said, beside what is true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsmoe.data.change.answers import CHANGE_CLASSES, read_target
from rsmoe.errors import UserError
from rsmoe.metrics.metric import Pairs

CHANGECHAT = "Deng et al., DeltaVLM / ChangeChat, arXiv 2507.22346"


def said_and_true(pairs: Pairs, *, asks: str, key: str) -> list[list[Any]]:
    """[what was said, or None; what is true] a pair, in the structured form of ``Sample.meta``.

    Args:
        pairs: questions on change.
        asks: "presence", "count" or "location".
        key: of ``Sample.meta``, where the truth stands; else it is read out of the first reference.

    Raises:
        UserError: a reference that says nothing of it.
    """
    rows = []
    for sample, prediction in pairs:
        truth = sample.meta.get(key)
        if truth is None:
            truth = (read_target(asks, sample.responses[0], CHANGE_CLASSES) or {}).get(key)
        if truth is None:
            raise UserError(f"the reference of {sample.id!r}, {sample.responses[0][:60]!r}, does not say a {asks}")
        classes = tuple(truth) if isinstance(truth, Mapping) else CHANGE_CLASSES
        said = read_target(asks, prediction.text, classes)
        rows.append([None if said is None else said[key], truth])
    return rows

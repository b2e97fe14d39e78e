"""What the vectors of a store depend on, and whether a job fits them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rsmoe.errors import UserError


def require_facts(held: Mapping[str, Any], facts: Mapping[str, Any], *, store: object) -> None:
    """Raises a `UserError` where a store has other facts; ``checkpoint`` may have another name.

    Args:
        held: `rsmoe.archive.Store.facts`.
        facts: of the job.
        store: what it is called.
    """
    other = [key for key in facts if key != "checkpoint" and held.get(key) != facts[key]]
    if other[:1] == ["model"]:
        raise UserError(
            f"{store} holds vectors of another model, {held.get('checkpoint')} ({held.get('model', '')[:8]}), than "
            f"checkpoint={facts['checkpoint']} ({facts['model'][:8]}): give that one, or another store"
        )
    if other:
        key = other[0]
        raise UserError(
            f"{store} was made with {key}={_shown(held.get(key))}, and this is {key}={_shown(facts[key])}: give the "
            "same, or another out="
        )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 24 else f"{text[:20]}..."

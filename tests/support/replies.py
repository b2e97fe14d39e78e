"""Replies as a model would give them, for what writes them."""

from __future__ import annotations

from typing import Any

from rsmoe.evaluation.reply import Reply
from rsmoe.geo.dates import Dates


def reply(dates: Dates, **fields: Any) -> Reply:
    given: dict[str, Any] = {
        "id": "a",
        "text": "a road",
        "instruction": "what ?",
        "routing": {},
        "shown": dates,
        "image_size": 64,
    }
    given |= {"prompt_tokens": 3, "tokens": 2, "ended": True}
    return Reply(**{**given, "notes": dates.notes, "dates": dates, **fields})

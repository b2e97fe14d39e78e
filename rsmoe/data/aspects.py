"""A detailed caption, taken apart into what the three captioning experts are for."""

from __future__ import annotations

import re

ASPECTS = ("theme", "object", "relation")
"""Theme comprehension, object recognition, relationship inference (RS-MoE, arXiv 2411.01595, its three sub-tasks)."""

_RELATION = re.compile(
    r"\b(next to|beside|between|surround\w*|along|near|adjacent|close to|in front of|behind|opposite|parallel|"
    r"to the (left|right|north|south|east|west) of|above|below|connect\w*|around|across|lined up|in rows?)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?]+[.!?]?")


def aspect_sentences(text: str) -> dict[str, str]:
    """Sentences of ``text`` by aspect: the first is the theme, those that relate things are relations, others objects.

    The paper's own sub-captions are not published, so this rule is ours; RSICap's descriptions open with their theme.
    "" for an aspect without a sentence.
    """
    first, *others = [s.strip() for s in _SENTENCE.findall(text) if s.strip(" .!?")] or [""]
    relations = [s for s in others if _RELATION.search(s)]
    objects = [s for s in others if s not in relations]
    return {"theme": first, "object": " ".join(objects), "relation": " ".join(relations)}


def split_aspects(text: str) -> dict[str, str]:
    """As `aspect_sentences`, the theme's in the place of an aspect without one: none is empty unless ``text`` is."""
    parts = aspect_sentences(text)
    return {aspect: part or parts["theme"] for aspect, part in parts.items()}

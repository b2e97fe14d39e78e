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


def split_aspects(text: str) -> dict[str, str]:
    """Sentences of ``text`` by aspect: the first is the theme, those that relate things are relations, others objects.

    The paper's own sub-captions are not published, so this rule is ours; RSICap's descriptions open with their theme.
    An aspect without a sentence of its own gets the theme's, so none of the three is empty unless ``text`` is.
    """
    sentences = [s.strip() for s in _SENTENCE.findall(text) if s.strip(" .!?")]
    theme, rest = sentences[:1], sentences[1:]
    relation = [s for s in rest if _RELATION.search(s)]
    objects = [s for s in rest if not _RELATION.search(s)]
    parts = (theme, objects or theme, relation or theme)
    return {aspect: " ".join(part) for aspect, part in zip(ASPECTS, parts, strict=True)}

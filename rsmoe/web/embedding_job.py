"""A picture or a text that waits for its embedding."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.embedding import Embedding, embed_texts
from rsmoe.evaluation.request import Request
from rsmoe.geo.dates import Dates


@dataclass(frozen=True, kw_only=True)
class EmbeddingJob:
    """One text, or one picture, and where its embedding goes."""

    content: str | tuple[Request, Dates]
    reply: Future[Embedding] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[object, ...]:
        """Texts and pictures share a pass."""
        return ("embedding",)

    @staticmethod
    def together(model: Assistant, jobs: Sequence[EmbeddingJob], *, stream: bool) -> list[Embedding]:
        """Their embeddings: one pass for the texts, and one for the pictures."""
        contents = [job.content for job in jobs]
        texts = [content for content in contents if isinstance(content, str)]
        pictures = [content for content in contents if not isinstance(content, str)]
        of_texts = iter(embed_texts(model.run, texts) if texts else ())
        asked = [request for request, _ in pictures]
        of_pictures = iter(model.embed_requests(asked, opened=[dates for _, dates in pictures]) if pictures else ())
        return [next(of_texts if isinstance(content, str) else of_pictures) for content in contents]

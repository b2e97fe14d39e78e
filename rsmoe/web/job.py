"""A request that waits for the model, and what of its answer is shown before the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from rsmoe.cli.terminal import printable
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.request import Request
from rsmoe.generation.decoding import OnToken
from rsmoe.geo.dates import Dates


@dataclass(frozen=True, kw_only=True)
class Job:
    """One request, and where its answer goes."""

    request: Request
    """With its decoding."""
    opened: Dates
    beams: int
    tile: int | None = -1
    """As in `Assistant.answer`."""
    boxes: str | None = None
    """Likewise."""
    prompts: bool = False
    """Likewise."""
    on_text: Callable[[str], None] | None = None
    """Called from the model's thread with every new piece of an answer that is not sought by beams."""
    reply: Future[Reply] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[object, ...]:
        """Jobs of one kind can share a pass, whatever their temperature, seed, stop words and lengths: what a model may
        refuse, series of dates, is not mixed with the rest."""
        return "answer", self.beams, self.tile, self.boxes, max(2, len(self.request.pictures))

    @staticmethod
    def together(model: Assistant, jobs: Sequence[Job], *, stream: bool) -> list[Reply]:
        """The replies to jobs of one kind, in one pass."""
        return model.answer(
            [job.request for job in jobs], beams=jobs[0].beams, tile=jobs[0].tile,
            boxes=jobs[0].boxes, prompts=any(job.prompts for job in jobs), opened=[job.opened for job in jobs],
            on_token=_listener(model, jobs) if stream else None,
        )  # fmt: skip


def _listener(model: Assistant, jobs: Sequence[Job]) -> OnToken | None:
    if all(job.on_text is None for job in jobs):
        return None
    ids: list[list[int]] = [[] for _ in jobs]
    sent = [""] * len(jobs)

    def on_token(new: Sequence[int | None]) -> None:
        for place, (job, token) in enumerate(zip(jobs, new, strict=True)):
            if job.on_text is None or token is None:
                continue
            ids[place].append(token)
            stop = None if job.request.decoding is None else job.request.decoding.stop
            text = printable(model.run.codec.decode(ids[place]) if stop is None else stop.settled(ids[place]))
            if text.startswith(sent[place]) and not text.endswith("\ufffd"):  # half of a character waits
                if piece := text[len(sent[place]) :]:
                    job.on_text(piece)
                sent[place] = text

    return on_token

"""What is known of a picture, before a question on it; the contract of a store of knowledge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rsmoe.data.collate import Collate
from rsmoe.data.notes import Note, cited, notes_turn
from rsmoe.data.rasters.images import load_image
from rsmoe.data.sample import Sample
from rsmoe.geo.georeference import Georeference
from rsmoe.metrics.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class Known:
    """Notes for one question, the best first."""

    notes: tuple[Note, ...] = ()
    said: str = ""
    """For the user: what was left out, or why there is no note; "" where there is nothing to say."""

    def before(self, history: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """Earlier turns with the notes behind them."""
        return (*history, notes_turn([note.text for note in self.notes])) if self.notes else history


class Knowledge(Protocol):
    """A store of notes; `rsmoe.knowledge.knowledge.Knowledge`, or `Nothing`."""

    fingerprint: str
    """Changes with the notes, and with how they are found."""

    def about(self, picture: np.ndarray, question: str, *, georeference: Georeference | None) -> Known:
        """The notes for a question on a (H, W, C) uint8 picture."""


class Nothing:
    """In the place of a store that cannot be read: every answer says why."""

    fingerprint = ""

    def __init__(self, why: str) -> None:
        self.why = why

    def about(self, picture: np.ndarray, question: str, *, georeference: Georeference | None) -> Known:
        """No note, and why."""
        return Known(said=f"answered without knowledge: {self.why}")


def known_of(knowledge: Knowledge, sample: Sample) -> Known:
    """What is known of the last picture of a sample, for its question."""
    return knowledge.about(load_image(sample.images[-1]), sample.instruction, georeference=sample.georeference)


def informed(sample: Sample, known: Known, collate: Collate) -> tuple[Sample, Known]:
    """A sample with its notes in the history, as many of them as the model reads; and those notes."""
    while known.notes:
        told = replace(sample, history=known.before(sample.history))
        if collate.prompt_length(told) <= collate.max_prompt:
            return told, known
        said = f"of the notes, {len(known.notes) - 1} fit into the {collate.max_prompt} tokens that the model reads"
        known = Known(notes=known.notes[:-1], said=said)
    return sample, known


def with_sources(prediction: Prediction, known: Known) -> Prediction:
    """The answer without its citations, which become `Prediction.sources`; `Prediction.ranking` is what it has read."""
    text, sources = cited(prediction.text, known.notes)
    return replace(prediction, text=text, sources=sources, ranking=tuple(note.id for note in known.notes))

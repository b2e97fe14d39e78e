"""The notes on a picture: found by place and by look, ordered by the question, never by a copy of the picture."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from rsmoe.archive import Embedder
from rsmoe.archive.open_embedder import open_embedder
from rsmoe.archive.tile import Source, Tile, box_of
from rsmoe.data.notes import Note
from rsmoe.data.overlap.fingerprint import Fingerprint, fingerprint
from rsmoe.data.overlap.near_duplicates import NearDuplicates
from rsmoe.evaluation.known import Known
from rsmoe.geo.georeference import Georeference
from rsmoe.knowledge.knowledge_store import KnowledgeStore

_PICTURES = 20
"""Pictures of the store that are looked at for each picture that is asked about."""
_REORDERED = 20
"""Best notes that are put into a new order by the words that they share with the question."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A note on a picture."""

    note: int
    """Its place in the store."""
    near: float
    """1 in the footprint of the picture, else the cosine of both pictures."""
    text: float
    """Cosine of the question and the note."""


class Knowledge:
    """An `rsmoe.evaluation.known.Knowledge` out of a store.

    1. *By place*: where the picture has a georeference, the notes whose point lies in its box of longitudes and
       latitudes; those with a point outside of it are not about it, whatever their pictures look like.
    2. *By look*: the notes whose picture has a cosine of ``alike`` or more to the one that is asked about.
    3. *Leave query out*: a note whose picture is the one that is asked about, or a near duplicate of it (encoded again,
       resized, turned, mirrored, cut; `rsmoe.data.overlap`), is left out. RS-RAG (arXiv 2504.04988) finds the test
       picture itself in its base, and so looks its answer up.
    4. *Fused*: ``weight`` times nearness and (1 - ``weight``) times the cosine of question and text, as RS-RAG does.
    5. *Re-ranked*: the best `_REORDERED` by the rarer words that they share with the question; ties as they were.

    Args:
        store: of notes.
        embedder: of the model that the store was made with.
        alike: least cosine of two pictures of one place.
        limit: most notes before a question.
        weight: of nearness against text, 0 to 1.
        lookup: True: copies of the picture are not left out; for users, never for a number.
    """

    def __init__(
        self,
        *,
        store: KnowledgeStore,
        embedder: Embedder,
        alike: float = 0.9,
        limit: int = 3,
        weight: float = 0.5,
        lookup: bool = False,
    ) -> None:
        self.store, self.embedder = store, embedder
        self.alike, self.limit, self.weight, self.lookup = alike, limit, weight, lookup
        self.fingerprint = store.fingerprint
        self._fingerprint = lru_cache(maxsize=4096)(fingerprint)

    @classmethod
    def open(cls, folder: str | Path, *, device: str = "auto", lookup: bool | None = None) -> Knowledge:
        """The store of a folder, with the model and the options that it was made with.

        Args:
            lookup: None: as it was made.

        Raises:
            UserError: no store, or its model is not where it was, or is another one.
        """
        store = KnowledgeStore(Path(folder))
        facts = store.facts
        embedder = open_embedder(facts["checkpoint"], device=device)
        store.require(embedder)
        options = {key: facts[key] for key in ("alike", "limit", "weight", "lookup")}
        return cls(store=store, embedder=embedder, **options | ({} if lookup is None else {"lookup": lookup}))

    def about(self, picture: np.ndarray, question: str, *, georeference: Georeference | None = None) -> Known:
        """The notes for a question on a (H, W, C) uint8 picture, at most ``limit``; it says why there is none."""
        if not self.store.notes:
            return Known(said=f"answered without knowledge: {self.store.folder} holds no note")
        near = self._near(picture, georeference)
        copies = set() if self.lookup else self._copies(picture, near)
        kept = {note: score for note, score in near.items() if note not in copies}
        said = f"{len(copies)} notes left out: their picture is the one that is asked about" if copies else ""
        if not kept:
            return Known(said=said or f"answered without knowledge: nothing in {self.store.folder} is about this place")
        best = self._ordered(kept, question)[: self.limit]
        notes = (self.store.notes[one.note] for one in best)
        return Known(notes=tuple(Note(id=note.id, text=note.text) for note in notes), said=said)

    def _near(self, picture: np.ndarray, georeference: Georeference | None) -> dict[int, float]:
        """Note -> how near it is, for those about the place of a picture."""
        near: dict[int, float] = {}
        if self.store.by_picture:
            (vector,) = self.embedder.embed_images([picture])
            for hit in self.store.nearest_pictures(vector, limit=_PICTURES):
                if hit.score >= self.alike:
                    near |= dict.fromkeys(self.store.by_picture[hit.tile.source.path], hit.score)
        box = None if georeference is None else _box(georeference)
        if box is not None:
            west, south, east, north = box
            lon, lat = self.store.points.T
            inside = (lat >= south) & (lat <= north)
            inside &= ((lon >= west) & (lon <= east)) | ((lon + 360 >= west) & (lon + 360 <= east))
            near = {note: score for note, score in near.items() if np.isnan(lon[note])}
            near |= dict.fromkeys(np.flatnonzero(inside).tolist(), 1.0)
        return near

    def _copies(self, picture: np.ndarray, near: Iterable[int]) -> set[int]:
        """Those notes whose picture is this one, or a near duplicate of it, or cannot be compared any more."""
        notes = {note: path for note in near if (path := self.store.notes[note].picture) is not None}
        prints: dict[Path, Fingerprint | None] = {
            path: self._fingerprint(path) if path.is_file() else None for path in dict.fromkeys(notes.values())
        }
        there = [path for path, own in prints.items() if own is not None]
        asked = fingerprint(picture)
        found = {path for path, own in prints.items() if own is None or own.pixels == asked.pixels}
        thumbnails = [own.thumbnail for own in prints.values() if own is not None]
        found |= {there[match.train] for match in NearDuplicates(thumbnails).find([asked.thumbnail])}
        return {note for note, path in notes.items() if path in found}

    def _ordered(self, near: dict[int, float], question: str) -> list[Found]:
        """The best first."""
        (vector,) = self.embedder.embed_texts([question])
        cosines = self.store.text_cosines(vector)
        found = [Found(note=note, near=score, text=float(cosines[note])) for note, score in near.items()]
        found.sort(key=lambda one: (-self.weight * one.near - (1 - self.weight) * one.text, one.note))
        asked = _words(question)
        first = sorted(found[:_REORDERED], key=lambda one: -self._shared(asked, one.note))
        return first + found[_REORDERED:]

    def _shared(self, asked: set[str], note: int) -> float:
        """Sum of log(notes / notes with the word) of the words that a note shares with a question."""
        total = len(self.store.notes)
        return sum(math.log(total / self._frequency[word]) for word in asked & _words(self.store.notes[note].text))

    @cached_property
    def _frequency(self) -> Counter[str]:
        return Counter(word for note in self.store.notes for word in _words(note.text))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _box(place: Georeference) -> tuple[float, float, float, float] | None:
    footprint = Tile(
        source=Source(path="", stamp="", georeference=place), window=(0, 0, place.width, place.height)
    ).footprint()
    return None if footprint is None else box_of(footprint)

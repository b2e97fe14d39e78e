"""A store of notes in one folder: the notes, and vectors of their pictures and texts in one space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rsmoe.archive import Embedder, Hit
from rsmoe.archive.index_pictures import index_pictures
from rsmoe.archive.listing import listed
from rsmoe.archive.tile_store import TileStore
from rsmoe.archive.vector_file import VectorFile
from rsmoe.data.files.json_text import read_json
from rsmoe.errors import UserError
from rsmoe.files import write_text
from rsmoe.knowledge.place_note import PlaceNote

_FACTS, _TEXTS, _PICTURES = "knowledge.json", "texts.f16", "pictures"
_BATCH = 256


class KnowledgeStore:
    """``knowledge.json`` has the notes and how they are found, ``texts.f16`` a vector of each, and ``pictures`` is an
    `rsmoe.archive.tile_store.TileStore` of their pictures, where there are any.

    Args:
        folder: made by `write`.

    Raises:
        UserError: there is no store, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / _FACTS
        if not path.is_file():
            raise UserError(f"no knowledge in {folder}: make it, rsmoe knowledge notes=<table or folder> out={folder}")
        content = read_json(path)
        try:
            self.facts: Mapping[str, Any] = content["facts"]
            self.notes = [
                PlaceNote(
                    id=row["id"], text=row["text"], picture=Path(row["picture"]) if row["picture"] else None,
                    point=None if row["point"] is None else (row["point"][0], row["point"][1]),
                )
                for row in content["notes"]
            ]  # fmt: skip
            self._texts = VectorFile(folder / _TEXTS, dim=self.facts["dim"])
        except (KeyError, TypeError, IndexError) as error:
            raise UserError(f"{path} is no store of rsmoe knowledge, or damaged ({error!r}): make it again") from error
        self.folder = folder
        self.fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()[:16]

    @classmethod
    def write(
        cls,
        folder: Path,
        notes: Sequence[PlaceNote],
        embedder: Embedder,
        *,
        facts: Mapping[str, Any],
        batch_size: int,
        console: Console,
    ) -> KnowledgeStore:
        """Embeds notes and their pictures; pictures that are there already, and have not changed, are kept.

        Args:
            facts: plain json: ``checkpoint`` of the embedder, and options of `rsmoe.knowledge.knowledge.Knowledge`.
            batch_size: pictures that go through the embedder at once.

        Raises:
            UserError: the folder cannot be written, its pictures are of another model, a picture cannot be read, a
                note without a word.
        """
        shown = sorted({str(note.picture) for note in notes if note.picture is not None})
        known = {"model": embedder.fingerprint, "checkpoint": facts["checkpoint"], "dim": embedder.dim}
        pictures = TileStore.create(folder / _PICTURES, known)
        pictures.drop(set(pictures.paths()) - set(shown))
        if shown:
            done = index_pictures(
                embedder, pictures, listed(shown), images=shown, side=0, overlap=0, raster={}, batch_size=batch_size,
                errors=folder / "errors.jsonl", console=console,
            )  # fmt: skip
            if done.failed:
                path, why = next(iter(done.failed.items()))
                raise UserError(f"{len(done.failed)} of {len(shown)} pictures cannot be read, the first: {path}: {why}")
        texts = [note.text for note in notes]
        parts = [embedder.embed_texts(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        (folder / _TEXTS).unlink(missing_ok=True)
        VectorFile(folder / _TEXTS, dim=embedder.dim).write(range(len(texts)), np.concatenate(parts))
        rows = [
            {"id": n.id, "text": n.text, "picture": None if n.picture is None else str(n.picture), "point": n.point}
            for n in notes
        ]
        write_text(folder / _FACTS, json.dumps({"facts": {**facts, **known}, "notes": rows}, indent=1) + "\n")
        return cls(folder)

    def require(self, embedder: Embedder) -> None:
        """Raises a `UserError` where the vectors are of another model than the embedder's."""
        if embedder.fingerprint != self.facts["model"]:
            raise UserError(
                f"{self.folder} holds vectors of another model than {self.facts['checkpoint']} is now: make it again, "
                f"rsmoe knowledge notes=... out={self.folder}"
            )

    @cached_property
    def by_picture(self) -> Mapping[str, Sequence[int]]:
        """Path of a picture -> its notes."""
        found: dict[str, list[int]] = {}
        for place, note in enumerate(self.notes):
            if note.picture is not None:
                found.setdefault(str(note.picture), []).append(place)
        return found

    @cached_property
    def points(self) -> np.ndarray:
        """(n, 2) longitude and latitude; NaN for a note without a point."""
        return np.array([note.point or (np.nan, np.nan) for note in self.notes], np.float64).reshape(-1, 2)

    def nearest_pictures(self, query: np.ndarray, *, limit: int) -> list[Hit]:
        """The pictures with the greatest cosine to a (dim,) vector, best first."""
        return TileStore.open(self.folder / _PICTURES).search(query, limit=limit)

    def text_cosines(self, query: np.ndarray) -> np.ndarray:
        """(n,) cosine of a (dim,) vector and every note's text."""
        return self._texts.scores(np.arange(len(self.notes)), query)

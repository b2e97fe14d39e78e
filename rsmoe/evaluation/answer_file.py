"""Answers to many requests in one folder, kept as they come, so that a job that stopped anywhere goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rsmoe.errors import UserError
from rsmoe.evaluation.line_log import LineLog
from rsmoe.evaluation.request import Request
from rsmoe.files import write_text
from rsmoe.geo.geojson import outline, write_feature_collection
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.lonlat import has_degrees, lonlat_geometry

_ABOUT = ("item", "datetime", "asset")
"""What a line says of a STAC item."""


class AnswerFile:
    """``<folder>/answers.jsonl``, one line a request, ``answers.geojson``, the footprint of each picture, and
    ``errors.jsonl``, those without an answer alone.

    A line is kept where the same request comes again with the same facts and its files are there; a request that has
    changed is answered again, and its new line replaces the old one. Lines of other requests stay.

    Args:
        facts: what the answers depend on beside the request (hash of the checkpoint, decoding ...), plain json.
    """

    def __init__(self, folder: Path, *, facts: Mapping[str, Any]) -> None:
        self.folder, self.path = folder, folder / "answers.jsonl"
        self._facts = json.dumps(facts, sort_keys=True)
        self._log = LineLog(self.path)
        self._rows: dict[str, dict[str, Any]] = {}
        for number, row in enumerate(self._log.rows(advice="Give another out="), start=1):
            if not isinstance(row, dict) or not isinstance(row.get("id"), str) or "request" not in row:
                raise UserError(f"{self.path}, line {number}: no answer of rsmoe.predict. Give another folder: out=")
            self._rows[row["id"]] = row

    def key(self, request: Request) -> str:
        """16 hex digits that change with the request and the facts."""
        return hashlib.sha256(f"{request.fingerprint()} {self._facts}".encode()).hexdigest()[:16]

    def pending(self, requests: Sequence[Request]) -> list[Request]:
        """The requests that have no answer yet, in their order."""
        return [request for request in requests if not self._has(request)]

    def outdated(self, requests: Sequence[Request]) -> int:
        """How many of the requests have an answer of their id that is to other words, of other pictures or facts."""
        known = ((self._rows.get(request.id), self.key(request)) for request in requests)
        return sum(row is not None and row.get("error") is None and row["request"] != key for row, key in known)

    def add(self, rows: Iterable[tuple[Request, Mapping[str, Any]]]) -> None:
        """Appends answers, each with the key of its request; on disk when this returns."""
        new = {request.id: {**row, "request": self.key(request)} for request, row in rows}
        self._rows |= new
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._log.append([_lines([row]).encode() for row in new.values()])
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error

    def finish(self, requests: Sequence[Request]) -> list[str]:
        """Writes ``answers.jsonl`` anew, one line an id, the requests in their order, and the footprints."""
        asked = {request.id for request in requests}
        ids = [*(key for key in self._rows if key not in asked), *(r.id for r in requests if r.id in self._rows)]
        write_text(self.path, _lines(self._rows[key] for key in ids))
        placed = [(self._rows[key], place) for key in ids if (place := _place(self._rows[key])) is not None]
        names = [self.path.name, *self._write_errors(ids)]
        on_earth = [(row, place) for row, place in placed if has_degrees(place)]
        if on_earth:
            features = ((_said(row), lonlat_geometry([outline(p.width, p.height)], p)) for row, p in on_earth)
            write_feature_collection(self.folder / "answers.geojson", features)
            names.append("answers.geojson")
        systems = {place.crs for _, place in placed}
        if len(systems) == 1:  # a file has one CRS
            features = ((_said(row), _on_map(place)) for row, place in placed)
            write_feature_collection(self.folder / "answers_crs.geojson", features, crs=systems.pop())
            names.append("answers_crs.geojson")
        return names

    def _write_errors(self, ids: Sequence[str]) -> list[str]:
        """``errors.jsonl``: of each request without an answer its id, its pictures and the reason; no file without
        one."""
        path = self.folder / "errors.jsonl"
        rows = [self._rows[key] for key in ids if self._rows[key].get("error") is not None]
        if not rows:
            path.unlink(missing_ok=True)
            return []
        told = [{key: row[key] for key in ("id", *_ABOUT, "images", "error") if key in row} for row in rows]
        write_text(path, _lines(told))
        return [path.name]

    def _has(self, request: Request) -> bool:
        row = self._rows.get(request.id)
        return (
            row is not None
            and row.get("request") == self.key(request)
            and row.get("error") is None
            and all((self.folder / name).is_file() for name in row.get("files", []))
        )


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _place(row: Mapping[str, Any]) -> Georeference | None:
    if row.get("crs") is None:
        return None
    width, height = row["size_px"]
    return Georeference(row["crs"], tuple(row["transform"]), width, height)


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("id", "answer", "instruction", "images", "confidence", "checkpoint", "checkpoint_sha256")
    return {key: row.get(key) for key in keys} | {key: row[key] for key in _ABOUT if key in row}


def _on_map(place: Georeference) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [place.to_map(outline(place.width, place.height)).tolist()]}

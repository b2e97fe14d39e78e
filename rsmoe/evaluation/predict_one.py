"""One request on the command line: the answer, how the router came to it, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rsmoe.evaluation.answer_file import AnswerFile
from rsmoe.evaluation.answer_requests import checkpoint_facts, decoding_facts, job_facts
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.land_cover_report import cover_of, cover_shares
from rsmoe.evaluation.reply_files import picture_name, reply_row, write_reply
from rsmoe.evaluation.request import Request
from rsmoe.files import write_text
from rsmoe.geo.layers import LayerFormat


def predict_one(
    model: Assistant,
    request: Request,
    *,
    checkpoint: Path,
    out: Path | None,
    classes: Sequence[str],
    layers: LayerFormat | None,
    simplify_px: float,
    options: Mapping[str, Any],
    console: Console,
) -> None:
    """Prints the answer and the router's table; writes the answer, its boxes, mask and map into the folder ``out``, or
    the mask alone where that names a picture."""
    folder = None if out is None or picture_name(out) else out
    unwritten = folder is None and len(request.pictures) == 1 and options.get("tile") is None
    options = dict(options) | ({"tile": -1} if unwritten else {})
    (reply,) = model.answer([request], prompts=True, console=console, **options)
    console.print(reply.text.strip() or "(empty answer)", style="bold", markup=False, highlight=False, soft_wrap=True)
    if reply.sources:
        console.print(f"from {', '.join(reply.sources)}", markup=False, highlight=False, soft_wrap=True)
    prompts = reply.prompts or {}
    learned = any(text.startswith("~") for text in prompts.values())
    table = Table("expert", "weight", "words nearest to its prompt" if learned else "prompt")
    for name, weight in sorted(reply.routing.items(), key=lambda item: -item[1]):
        if f"{weight:.3f}" != "0.000" or name in prompts:  # of eight experts one or two answer
            table.add_row(name, f"{weight:.3f}", prompts.get(name, ""))
    console.print(table)
    told = write_reply(
        reply, folder, picture=out if folder is None else None, titles=request.titles,
        cover_classes=model.cover_classes, change_classes=classes, layers=layers, simplify_px=simplify_px,
        console=console,
    )  # fmt: skip
    files, notes = told.pop("files"), told.pop("notes", list(reply.notes))
    shares: dict[str, Any] | None = None
    if reply.land_cover is not None:
        shares = cover_shares(*cover_of(reply), model.cover_classes)
        notes.append(_covered(shares))
        if reply.cover is not None:
            notes.append(f"land cover: {reply.cover.tiles} tiles of {reply.cover.tile_px} px")
    if reply.change is None:
        for note in notes:
            console.print(note, markup=False, highlight=False, soft_wrap=True)
    if folder is None:
        return
    facts = checkpoint_facts(checkpoint)
    row = {**reply_row(reply), "images": request.names, "files": files, "notes": notes, **facts}
    row["decoding"] = decoding_facts(options)
    said = {"text": reply.text, "weights": reply.routing, "prompts": reply.prompts, "land_cover": shares}
    said |= {"changed": None, "cells": None, "kinds": None, "polygons": None} | told
    write_text(folder / "answer.json", json.dumps({**row, **said}, indent=1, ensure_ascii=False) + "\n")
    job = AnswerFile(folder, facts=job_facts(facts, options, layers, simplify_px))
    job.add([(request, row)])
    written = [
        "answer.json",
        *job.finish([request]),
        *(name for name in files if name.startswith(("boxes", "land_cover")) or name.endswith((".gpkg", ".fgb"))),
    ]
    console.print(f"written to {folder}: {', '.join(written)}", markup=False, soft_wrap=True)


def _covered(shares: Mapping[str, Mapping[str, Any]]) -> str:
    """The five largest classes in one line."""
    found = [f"{name} {100 * own['share']:.1f} %" for name, own in shares.items()]
    return f"land cover: {', '.join(found[:5]) or 'no data'}{', ...' if len(found) > 5 else ''}"

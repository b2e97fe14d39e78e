"""Many requests, batch by batch, into one folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import rsmoe
from rsmoe.data.tasks import find_task
from rsmoe.errors import UserError
from rsmoe.evaluation.answer_file import AnswerFile
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.reply_files import reply_row, write_reply
from rsmoe.evaluation.request import Request
from rsmoe.evaluation.watch import watched
from rsmoe.files import sha256_of_file
from rsmoe.geo.layers import LayerFormat
from rsmoe.training.checkpoints import find_checkpoint


def checkpoint_facts(path: Path) -> dict[str, Any]:
    """What a line says of the model that answered: its place, and the sha256 of its file."""
    digest = sha256_of_file(find_checkpoint(path))
    return {"checkpoint": str(path), "checkpoint_sha256": digest, "rsmoe": rsmoe.__version__}


def decoding_facts(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a line says of how an answer was decoded."""
    keys = ("beams", "max_new", "temperature", "top_p", "seed", "stop")
    return {key: options[key] for key in keys if key in options}


def job_facts(
    facts: Mapping[str, Any], options: Mapping[str, Any], layers: LayerFormat | None, simplify_px: float
) -> dict[str, Any]:
    """What the answers in a folder depend on, plain."""
    files = {} if layers is None else {"layers": layers}
    knowledge = {"knowledge": options["knowledge"].fingerprint} if options.get("knowledge") else {}
    return {**facts, "checkpoint": "", **options, **knowledge, **files, "simplify_px": simplify_px}


def answer_requests(
    model: Assistant,
    requests: Sequence[Request],
    *,
    checkpoint: Path,
    folder: Path | None,
    batch_size: int,
    classes: Sequence[str],
    layers: LayerFormat | None,
    simplify_px: float,
    options: Mapping[str, Any],
    console: Console,
) -> None:
    """Answers what has no answer yet, with one progress bar; without a folder the answers are printed alone.

    What cannot be read is named in its line (``error``) and at the end, and does not stop the others; the next start
    tries it again.

    Args:
        folder: for ``answers.jsonl``, the footprints, and a folder for each answer that has boxes, a mask or a map.

    Raises:
        UserError: some requests could not be answered; the first is told.
    """
    facts = checkpoint_facts(checkpoint) if folder is not None else {}
    job = None if folder is None else AnswerFile(folder, facts=job_facts(facts, options, layers, simplify_px))
    left = list(requests) if job is None else job.pending(requests)
    if len(left) < len(requests):
        console.print(f"{len(requests) - len(left)} of {len(requests)} requests have their answer in {folder}")
    if job is not None and (old := job.outdated(requests)):
        console.print(
            f"{old} of {len(requests)} requests have an answer in {folder} to other words or pictures, of another "
            "model, or with other options, which is replaced; to keep it, stop and give another out=",
            style="red", soft_wrap=True,
        )  # fmt: skip
    failed: dict[str, str] = {}
    with watched("requests", len(left), console) as advance:
        for start in range(0, len(left), batch_size):
            some = left[start : start + batch_size]
            replies = _answered(model, some, options, failed)
            rows = []
            for request in some:
                row: dict[str, Any] = {"id": request.id, "answer": None, "error": failed.get(request.id)}
                row |= request.about
                if request.id in replies:
                    reply = replies[request.id]
                    row |= reply_row(reply) | {"files": []}
                    if folder is not None:
                        own = folder / reply_folder(request.id)
                        told = write_reply(
                            reply, own, titles=request.titles, cover_classes=model.cover_classes,
                            change_classes=classes, layers=layers, simplify_px=simplify_px, console=Console(quiet=True),
                        )  # fmt: skip
                        row["files"] = [f"{own.name}/{name}" for name in told["files"]]
                    if job is None:
                        console.print(f"{request.id}: {reply.text.strip() or '(empty answer)'}", soft_wrap=True)
                task = {"task": request.task, "protocol": find_task(request.task).protocol} if request.task else {}
                rows.append(
                    (request, {**row, "images": request.names, **task, **facts, "decoding": decoding_facts(options)})
                )
            if job is not None:
                job.add(rows)
            advance(len(some))
    if job is not None:
        console.print(f"written to {folder}: {', '.join(job.finish(requests))}", soft_wrap=True)
    if failed:
        first, reason = next(iter(failed.items()))
        raise UserError(f"{len(failed)} of {len(requests)} requests have no answer, the first: {first}: {reason}")


def reply_folder(name: str) -> str:
    """An id as the name of a folder, the same for the same id, and another for another."""
    plain = re.sub(r"[^\w.-]+", "_", name)[:100].strip(".") or "_"
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _answered(
    model: Assistant, requests: Sequence[Request], options: Mapping[str, Any], failed: dict[str, str]
) -> dict[str, Reply]:
    """One batch; where a request of it cannot be read, the others by themselves."""
    try:
        return {reply.id: reply for reply in model.answer(requests, **options)}
    except UserError as error:
        if len(requests) == 1:
            failed[requests[0].id] = str(error)
            return {}
    replies: dict[str, Reply] = {}
    for request in requests:
        replies |= _answered(model, [request], options, failed)
    return replies

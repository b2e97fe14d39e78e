"""Questions about one picture, or about two dates, one after another in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rich.columns import Columns
from rich.console import Console

from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.reply_files import marked
from rsmoe.evaluation.request import Request
from rsmoe.figures.half_blocks import half_blocks

WIDEST = 60
"""Columns of a picture at most."""
HELP = "Ask about it. /new forgets the questions so far; an empty line ends."
ALONE = "Ask about it. This model reads each question alone; an empty line ends."


class Chat:
    """Shows the pictures, then answers what is typed; earlier questions and answers are read as the history, by a
    model that was trained with some."""

    def __init__(self, *, model: Assistant, request: Request, options: Mapping[str, Any], console: Console) -> None:
        self.model, self.request, self.console = model, request, console
        self.options = {**options, "tile": -1}
        self.dates = model.open(request, raster=options.get("raster"))

    def run(self, typed: Callable[[], str]) -> None:
        """Until a line that ``typed`` gives is empty, or it raises EOFError."""
        shown = self.dates.overview()
        columns = min(WIDEST, (self.console.width - 1) // len(shown.images))
        self.console.print(Columns([half_blocks(image, columns=columns) for image in shown.images]))
        said = HELP if self.model.run.dialogues else ALONE
        self.console.print(" -> ".join(self.request.titles), said, sep="\n", style="dim", highlight=False)
        history, told_before = self.request.history, set[str]()
        while True:
            try:
                words = typed().strip()
            except EOFError:
                return
            if not words:
                return
            if words == "/new":
                history = ()
                continue
            asked = replace(self.request, instruction=words, history=history)
            (reply,) = self.model.answer([asked], opened=[self.dates], **self.options)
            if self.model.run.dialogues:
                history = (*history, (words, reply.text))
            self.console.print(reply.text.strip() or "(empty answer)", style="bold", highlight=False)
            used = sorted(reply.routing.items(), key=lambda item: -item[1])
            told = ", ".join(f"{name} {weight:.2f}" for name, weight in used if weight >= 0.005)
            self.console.print(told, style="dim", highlight=False)
            if reply.mask is not None and reply.mask.any():
                self._tell(f"mask of {marked(reply.mask)}: instruction=... out=folder writes it")
            for note in reply.notes:
                if note.startswith("mask: ") or note not in told_before:  # those of the pictures come with every reply
                    self._tell(note)
            told_before.update(reply.notes)

    def _tell(self, line: str) -> None:
        self.console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)

"""Keys of ``python -m rsmoe.commands.compare``."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le, Len
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.types import OutFolder, Paths, PathWord, Says, Verbatim, Word

_Names = Annotated[
    Word | Annotated[list[Word], Len(1)], Verbatim(many=True), Says("a list of names, [caption/cider,vqa/*]")
]


class Compare(Settings):
    """Puts the results of runs into one table, as Markdown and LaTeX."""

    examples = (
        "runs/*",
        "runs/*/*/evaluation format=latex out=tables",
        "runs/* against=runs/ucm_dense/2026-01-31_12-00-00",
        'runs/* metrics=["caption/cider","vqa/*"] digits=1',
    )

    runs: Paths | Annotated[list[str], Len(0, 0)] = Field(description="folders that hold metrics.json, at any depth")
    metrics: _Names | None = Field(description="[caption/cider,vqa/*]: these columns; null: all but the router's")
    against: PathWord | None = Field(
        description="a run of the method that the others are held against: differences on the same samples, 95 %"
    )
    draws: Annotated[int, Ge(1)] = Field(description="of the bootstrap of these differences")
    format: Literal["both", "markdown", "latex"] = Field(description="what is printed")
    digits: Annotated[int, Ge(0), Le(12)] = Field(description="behind the point")
    out: OutFolder | None = Field(description="a folder for compare.md and compare.tex")

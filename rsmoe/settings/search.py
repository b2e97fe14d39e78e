"""Keys of ``python -m rsmoe.commands.search``."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le, Len
from pydantic import Field

from rsmoe.errors import UserError
from rsmoe.settings.model import Settings
from rsmoe.settings.types import Device, OutFolder, PathWord, Says, Verbatim, Word

_Span = Annotated[
    str | Annotated[list[str], Len(2, 2)], Len(1), Verbatim(many=True), Says("a day, 2020-08-30, or [first,last]")
]


class Search(Settings):
    """Finds the tiles of a store that fit words, a picture, or both; a sentence needs no key."""

    examples = (
        '"a harbour with white ships" store=archive',
        '"a harbour with white ships" store=archive bbox=[9.5,53.4,10.3,53.7] dates=[2019,2020-06] out=found',
        "image=port.tif store=archive limit=50 out=found",
        'text="many ships" image=port.tif store=archive',
    )

    text: Word | None = Field(description="what the picture shows; also the words of the line that have no key")
    image: PathWord | None = Field(description="a picture that it looks like; beside words, both count the same")
    store: PathWord = Field(description="the folder that rsmoe index has written")
    bbox: Annotated[list[float], Len(4, 4), Says("[west,south,east,north] in degrees")] | None = Field(
        description="[west,south,east,north] in degrees, which a tile has to meet"
    )
    dates: _Span | None = Field(
        description="[first,last] day, each 2020-08-30, 2020-08 or 2020; one of these alone is that day, month or year"
    )
    limit: Annotated[int, Ge(1), Le(1000)] = Field(description="tiles that are shown, the best first")
    out: OutFolder | None = Field(description="a folder for hits.geojson, their footprints, and hits.png")
    checkpoint: PathWord | None = Field(description="null: the one that the store was made with, where it lay")
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")

    def model_post_init(self, context: object) -> None:
        """Something to search for."""
        if self.text is None and self.image is None:
            raise UserError('give words or image=..., or both: rsmoe search "a harbour with ships" store=archive')

"""Regions that follow their picture, and their boxes in the words of requests."""

from __future__ import annotations

from dataclasses import replace

from rsmoe.data.boxes.region import REGION
from rsmoe.data.sample import Sample
from rsmoe.data.transforms.symmetries import IDENTITY
from rsmoe.errors import UserError


def pointed(
    sample: Sample, *, symmetry: int = IDENTITY, window: tuple[float, float, float, float] | None = None
) -> Sample:
    """The sample with its region as a view shows it, and the box of that in the place of `REGION` in its words.

    Args:
        symmetry: of the view, see `rsmoe.data.transforms.symmetries`.
        window: what was cut out of the turned picture, ``x y w h`` in parts of its sides; None: all of it.

    Raises:
        UserError: the words are to hold a box, and there is no region, or nobody says how boxes are written.
    """
    asked = [sample.instruction, *(question for question, _ in sample.history)]
    named = any(REGION in text for text in asked)
    if sample.region is None:
        if named:
            raise UserError(f"sample {sample.id!r} of {sample.source!r} says {REGION} and has no region: {asked[0]!r}")
        return sample
    region = sample.region.turned(symmetry)
    region = region if window is None else region.cut(window)
    if not named:
        return replace(sample, region=region)
    if not (convention := sample.meta.get("box_convention")):
        raise UserError(
            f"sample {sample.id!r} of {sample.source!r} is about a region, and does not say how to write its box: it "
            'needs meta["box_convention"], a name of rsmoe.data.boxes.CONVENTIONS'
        )
    box = region.text(str(convention))
    history = tuple((question.replace(REGION, box), answer) for question, answer in sample.history)
    return replace(sample, region=region, instruction=sample.instruction.replace(REGION, box), history=history)

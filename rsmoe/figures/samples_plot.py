"""A contact sheet of answers: image, instruction, reference, prediction, masks, router weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke

from rsmoe.figures.figure import BLUE, GREEN, GREY, ORANGE, PAGE_WIDTH_IN, rgb, save_figure, shorten
from rsmoe.figures.sample_card import SampleCard
from rsmoe.figures.sheet import LINE_IN, Sheet, text_width_in, wrap

_COLUMNS = 2
_MARGIN_IN = 0.08
_GAP_IN = 0.12
_CARD_IN = (PAGE_WIDTH_IN - 2 * _MARGIN_IN - 2 * _GAP_IN * (_COLUMNS - 1)) / _COLUMNS
_INSTRUCTION_LINES, _ANSWER_LINES, _BARS = 5, 9, 4
"""Most lines of each text, and most experts, before the rest is cut."""
_REFERENCE, _PREDICTION = "#F0E442", "#FF4FC3"
"""Yellow and magenta stand out from vegetation, water and soil, and from each other for colour-blind readers."""


def plot_samples(path: Path | str, samples: Sequence[SampleCard]) -> Path:
    """Write the sheet to ``path`` (PNG, 7.2 in wide, 200 dpi) and return it: two columns of cards.

    Raises:
        ValueError: no sample, a sample without image, or a mask that is not of the last image's size.
    """
    if not samples:
        raise ValueError("a contact sheet needs at least one sample")
    for card in samples:
        _check(card)
    used = [0.0] * _COLUMNS
    places: list[tuple[int, float]] = []  # (column, inches from the top) of each card
    for card in samples:
        column = used.index(min(used))
        places.append((column, used[column]))
        used[column] += _draw_card(None, card, left=0.0, top=0.0) + 2 * _GAP_IN
    sheet = Sheet(width=PAGE_WIDTH_IN, height=max(used) - 2 * _GAP_IN + 2 * _MARGIN_IN)
    for card, (column, down) in zip(samples, places, strict=True):
        left, top = _MARGIN_IN + column * (_CARD_IN + 2 * _GAP_IN), sheet.height - _MARGIN_IN - down
        if down:
            sheet.rectangle(left, top + _GAP_IN, _CARD_IN, 0.006, "#CCCCCC")
        _draw_card(sheet, card, left=left, top=top)
    return save_figure(sheet.figure, path)


def _check(card: SampleCard) -> None:
    if not card.images:
        raise ValueError(f"a sample card needs an image: {card.instruction!r} has none")
    for mask in (card.mask, card.reference_mask):
        if mask is not None and mask.shape != card.images[-1].shape[:2]:
            raise ValueError(f"mask {mask.shape} does not fit image {card.images[-1].shape[:2]}: {card.instruction!r}")


def _draw_card(sheet: Sheet | None, card: SampleCard, *, left: float, top: float) -> float:
    """Images on the left, words and router weights on the right; returns the height used (inches).

    With ``sheet=None`` nothing is drawn: the same code measures and draws, so that the two agree.
    """
    side, columns = {1: (1.3, 1), 2: (1.05, 1)}.get(len(card.images), (0.68, 2))
    low = top
    for place, frame in enumerate(_shown(len(card.images))):
        row, column = divmod(place, columns)
        x, y = left + column * (side + 0.04), top - row * (side + 0.04)
        low = min(low, y - _draw_frame(sheet, card, frame, x, y, side))
    low = _draw_mask_legend(sheet, card, left, low)
    x = left + columns * side + (columns - 1) * 0.04 + _GAP_IN
    width = left + _CARD_IN - x
    y = _paragraph(sheet, x, top, width, "", card.instruction, lines=_INSTRUCTION_LINES, weight="bold")
    y = _paragraph(sheet, x, y, width, "Reference ", card.reference, lines=_ANSWER_LINES, color=GREY)
    mark = {True: "✓ ", False: "✗ ", None: ""}[card.correct]
    y = _paragraph(sheet, x, y, width, f"{mark}Answer ", card.prediction, lines=_ANSWER_LINES, correct=card.correct)
    return top - min(low, _draw_router(sheet, card, x, y, width))


def _shown(frames: int) -> Iterator[int]:
    """At most four frames, the first and the last among them."""
    return iter(sorted({round(i) for i in np.linspace(0, frames - 1, min(frames, 4))}))


def _draw_frame(sheet: Sheet | None, card: SampleCard, frame: int, x: float, top: float, side: float) -> float:
    """One image with its longer side ``side``; returns its height."""
    pixels = rgb(card.images[frame])
    high, wide = pixels.shape[:2]
    scale = side / max(high, wide)
    if sheet is None:
        return high * scale
    axes = sheet.axes(x, top - high * scale, wide * scale, high * scale)
    axes.imshow(pixels, aspect="auto")
    if frame == len(card.images) - 1:
        for mask, color in ((card.reference_mask, _REFERENCE), (card.mask, _PREDICTION)):
            if mask is not None and mask.any():
                _outline(axes, mask, color, dashed=mask is card.mask)
    if len(card.images) > 1:
        name = ("before", "after")[frame] if len(card.images) == 2 else str(frame + 1)
        halo = [withStroke(linewidth=2, foreground="black")]
        axes.annotate(
            name, (0, 1), (3, -3), xycoords="axes fraction", textcoords="offset points", va="top", color="white",
            fontsize=8, path_effects=halo,
        )  # fmt: skip
    axes.set(xlim=(-0.5, wide - 0.5), ylim=(high - 0.5, -0.5))
    return high * scale


def _outline(axes: Axes, mask: np.ndarray, color: str, *, dashed: bool) -> None:
    """The border of ``mask`` over a black halo, and a light tint inside."""
    tint = np.zeros((*mask.shape, 4))
    tint[mask.astype(bool)] = (*to_rgb(color), 0.22)
    axes.imshow(tint, aspect="auto", interpolation="nearest")
    closed = np.pad(mask.astype(float), 1)  # a mask at the border gets an outline there too
    ys, xs = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
    axes.contour(xs, ys, closed, levels=[0.5], colors="black", linewidths=2.0, linestyles="solid", alpha=0.5)
    axes.contour(xs, ys, closed, levels=[0.5], colors=color, linewidths=1.1, linestyles="dashed" if dashed else "solid")


def _draw_mask_legend(sheet: Sheet | None, card: SampleCard, x: float, low: float) -> float:
    """A swatch and a name for each mask that the card has; returns the new lower edge."""
    for mask, color, name in (
        (card.reference_mask, _REFERENCE, "reference mask"),
        (card.mask, _PREDICTION, "predicted mask"),
    ):
        if mask is not None:
            low -= LINE_IN
            if sheet is not None:
                sheet.rectangle(x, low + 0.01, 0.09, 0.09, color, edge="black")
                sheet.text(x + 0.14, low + LINE_IN - 0.02, name if mask.any() else f"{name}: empty")
    return low


def _paragraph(
    sheet: Sheet | None,
    x: float,
    top: float,
    width: float,
    label: str,
    text: str,
    *,
    lines: int,
    color: str = "black",
    weight: str = "normal",
    correct: bool | None = None,
) -> float:
    """``label`` in bold, then ``text`` wrapped after it; returns the next paragraph's top."""
    indent = text_width_in(label, "bold")
    wrapped = wrap(text or "(empty)", width_in=width, indent_in=indent, lines=lines, weight=weight)
    if sheet is not None:
        tone = {True: GREEN, False: ORANGE, None: color}[correct]
        sheet.text(x, top, label, color=tone, weight="bold")
        for number, line in enumerate(wrapped):
            sheet.text(x + (0 if number else indent), top - number * LINE_IN, line, color=color, weight=weight)
    return top - len(wrapped) * LINE_IN - 0.06


def _draw_router(sheet: Sheet | None, card: SampleCard, x: float, top: float, width: float) -> float:
    """Bars of the strongest experts, then how many more were chosen; returns the lower edge."""
    chosen = sorted(((w, name) for name, w in card.router.items() if w > 0), key=lambda pair: -pair[0])
    y = top
    for weight, name in chosen[:_BARS]:
        if sheet is not None:
            start, room = x + 0.44 * width, 0.56 * width - 0.3
            sheet.text(x, y, shorten(name.replace("_", " "), int(0.44 * width / 0.068)))
            sheet.rectangle(start, y - 0.1, room, 0.075, "#E6E6E6")
            sheet.rectangle(start, y - 0.1, room * min(weight, 1.0), 0.075, BLUE)
            sheet.text(x + width, y, f"{weight:.2f}", right=True)
        y -= LINE_IN
    if len(chosen) > _BARS:
        if sheet is not None:
            rest = sum(weight for weight, _ in chosen[_BARS:])
            sheet.text(x, y, f"{len(chosen) - _BARS} more", color=GREY)
            sheet.text(x + width, y, f"{rest:.2f}", color=GREY, right=True)
        y -= LINE_IN
    return y

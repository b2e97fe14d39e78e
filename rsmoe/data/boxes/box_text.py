"""Boxes out of text and into it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rsmoe.data.boxes.convention import ORDERS, Convention
from rsmoe.data.boxes.conventions import convention as named

SLACK = 0.01
"""What a coordinate may lie outside of the picture, in parts of its side, and be clipped; further out it is a failure:
it was written in another space (percent read as pixels, pixels ten times too large). One step of the convention is
always allowed."""

_WHOLE, _DECIMAL = r"[-+]? ?\d+", r"[-+]? ?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True, kw_only=True)
class ParsedBoxes:
    """Boxes parsed out of a text."""

    boxes: np.ndarray
    """(n, 4) ``x1 y1 x2 y2`` or (n, 5) ``cx cy w h angle_deg``, float32 pixels, in the order of the text."""
    failed: tuple[str, ...] = ()
    """What looks like a box and is none, with the reason; or the text, when it holds no box at all."""

    astray: int = 0
    """How many of ``failed`` are in their form, but no boxes of the picture: outside, or with corners out of order."""

    @property
    def failures(self) -> int:
        """Number of boxes that could not be read; 1 for a text without any."""
        return len(self.failed)


def parse(text: str, *, convention: str, size_px: tuple[int, int]) -> ParsedBoxes:
    """Every box of a text that should hold boxes.

    A horizontal box with corners out of order, a negative width or height, and a box that lies outside of the picture
    (`SLACK`) are failures, and so is a text without any box. Nothing is repaired but the last hundredth at the border.

    Args:
        convention: a name of `CONVENTIONS`; there is no default.
        size_px: (width, height) of the original image.
    """
    form = named(convention)
    candidate, exact, stray = _patterns(form)
    rows: list[np.ndarray] = []
    failed: list[str] = []
    astray = 0
    for match in candidate.finditer(text):
        numbers = exact.fullmatch(match[0])
        # a vocabulary of words sets a sign apart from its digits
        values = np.array([n.replace(" ", "") for n in numbers.groups()], dtype=np.float64) if numbers else None
        reason = "not in its form" if values is None else _fault(values, form, size_px)
        if values is not None and not reason:
            rows.append(values)
        else:
            astray += values is not None
            failed.append(f"{match[0][:80]!r}: {reason}")
    if stray is not None:
        failed += [f"{m[0][:80]!r}: without braces" for m in stray.finditer(candidate.sub(" ", text))]
    if not rows and not failed:
        failed.append(f"{text[:80]!r}: holds no box")
    boxes = form.to_px(np.stack(rows), size_px) if rows else np.zeros((0, 5 if form.oriented else 4), dtype=np.float32)
    if not form.oriented:
        boxes = boxes.clip(0, [*size_px, *size_px]).astype(np.float32)
    return ParsedBoxes(boxes=boxes, failed=tuple(failed), astray=astray)


def write(boxes: np.ndarray, *, convention: str, size_px: tuple[int, int]) -> str:
    """The text that `parse` reads back, each number to within half a step (at the far border of "vhm" a whole one).

    Several boxes are joined by ``<delim>`` where they stand in braces (GeoChat, MiniGPT-v2), else by a space.
    Horizontal boxes are clipped to the picture.

    Args:
        boxes: (n, 4) or (n, 5) float pixels.
        size_px: (width, height) of the original image.

    Raises:
        rsmoe.errors.UserError: unknown convention, or boxes of the other kind.
    """
    form = named(convention)
    rows = np.asarray(boxes, dtype=np.float64)
    if not form.oriented and rows.ndim == 2 and rows.shape[1] == 4:
        rows = rows.clip(0, [*size_px, *size_px])
    return ("<delim>" if form.braces else " ").join(_text(row, form) for row in form.from_px(rows, size_px))


def _text(row: np.ndarray, form: Convention) -> str:
    """One box; the angle has as many decimals as a coordinate in pixels has, and is whole elsewhere."""
    coordinates = row.clip(None, form.largest) if form.largest else row
    words = [f"{value:0{form.digits}.{form.decimals}f}" for value in coordinates]
    if ORDERS[form.order] == 5:
        words[4] = f"{row[4]:.{0 if form.scale else form.decimals}f}"
    words = [word.lstrip("-") if float(word) == 0 else word for word in words]  # no "-0"
    if not form.braces:
        return f"[{', '.join(words)}]"
    angle = f"|<{words[4]}>" if len(words) == 5 else ""
    return "{" + "".join(f"<{word}>" for word in words[:4]) + angle + "}"


@lru_cache
def _patterns(form: Convention) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str] | None]:
    """What opens like a box, what is one, and coordinates that stand outside of any."""
    number = _DECIMAL if form.decimals else _WHOLE
    kinds = [number] * ORDERS[form.order]
    if len(kinds) == 5:
        kinds[4] = _DECIMAL
    if form.braces:
        groups = [rf"<\s*({kind})\s*>" for kind in kinds]
        exact = r"\{\s*" + r"\s*".join(groups[:4]) + (r"\s*\|\s*" + groups[4] if len(groups) == 5 else "") + r"\s*\}"
        return re.compile(r"\{[^{}]*\d[^{}]*\}?"), re.compile(exact), re.compile(r"(?:<\s*[-+]?\d[^<>]*>?\s*\|?\s*)+")
    exact = r"\[\s*" + r"\s*,\s*".join(f"({kind})" for kind in kinds) + r"\s*\]"
    return re.compile(r"\[[^\[\]]*\d[^\[\]]*\]?"), re.compile(exact), None


def _fault(values: np.ndarray, form: Convention, size_px: tuple[int, int]) -> str:
    """Why these numbers are no box of the picture; "" where they are one. Clamps in place where the convention does."""
    if form.clamps:
        values[:4] = values[:4].clip(0, None)
    box = form.to_px(values[None], size_px)[0].astype(np.float64)
    side = np.asarray(size_px, dtype=np.float64)
    if not np.isfinite(box).all():
        return "not finite"
    if form.oriented:
        points, extent = box[:2], box[2:4]
    else:
        points, extent = box.reshape(2, 2), box[2:] - box[:2]
    if (extent < 0).any():
        return "corners out of order"
    slack = np.maximum(SLACK * side, form.step_px(size_px))
    if (points < -slack).any() or (points > side + slack).any():
        return f"outside of the picture of {size_px[0]} x {size_px[1]}"
    return ""

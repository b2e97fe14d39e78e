"""From pixels of a kind, each of which says where the sides of its thing are, to the things."""

from __future__ import annotations

import numpy as np

from rsmoe.metrics.regions.grounding import hbb_iou

SAME = 0.5
"""IoU from which two pixels speak of one thing."""
LEAST = 0.2
"""Support of a thing: the share of its box whose pixels are of the kind and speak of it."""
_CANDIDATES = 400
_FAINT = 0.1


def things_of(kind: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Greedy grouping of the boxes that the pixels of a kind vote for, the best supported one first.

    The support of a box b is ``sum_p kind_p / area(box_p)`` over the pixels p with IoU(box_p, b) >= `SAME`: close to 1
    where a thing fills its box and all of its pixels agree, whatever its size. A box of a thing is the mean over its
    supporters, who then vote no more; below `LEAST` nothing is left. Each pixel belongs to the thing whose box is most
    like its own. Ours; votes of pixels for their thing are Panoptic-DeepLab's (arXiv 1911.10194), the four sides
    FCOS's (arXiv 1904.01355).

    Args:
        kind: (h, w) probability of the kind; above 0.5 a pixel votes.
        sides: (4, h, w) distances from the middle of the pixel to the left, upper, right and lower side, above 0.

    Returns:
        (m, 4) boxes ``x1 y1 x2 y2`` in pixels of these maps, the best supported first; (h, w) the thing that each pixel
        belongs to, -1 where the kind is far from likely.
    """
    owner = np.full(kind.shape, -1)
    rows, columns = np.nonzero(kind > _FAINT)
    votes = _boxes(rows, columns, sides)
    sure = kind[rows, columns] > 0.5
    rivals = votes[sure]
    weight = kind[rows, columns][sure] / np.prod(rivals[:, 2:] - rivals[:, :2], axis=1)
    some = np.linspace(0, len(rivals) - 1, min(len(rivals), _CANDIDATES)).round().astype(int)
    agree = hbb_iou(rivals[some], rivals) >= SAME  # (c, n)
    boxes: list[np.ndarray] = []
    free = np.ones(len(rivals), dtype=bool)
    while len(some):
        support = (agree & free) @ weight
        best = int(support.argmax())
        if support[best] < LEAST:
            break
        mine = agree[best] & free
        boxes.append(np.average(rivals[mine], axis=0, weights=weight[mine]))
        free &= ~mine
    if boxes:
        owner[rows, columns] = hbb_iou(votes, np.stack(boxes)).argmax(1)
    return np.array(boxes, dtype=np.float64).reshape(-1, 4), owner


def _boxes(rows: np.ndarray, columns: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """(n, 4) box that each of n pixels votes for."""
    left, top, right, bottom = sides[:, rows, columns].astype(np.float64)
    x, y = columns + 0.5, rows + 0.5
    return np.stack([x - left, y - top, x + right, y + bottom], axis=1)

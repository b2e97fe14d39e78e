"""Boxes behind the phrases of a caption against the true ones."""

from __future__ import annotations

import numpy as np

from rsmoe.data.boxes import parse
from rsmoe.errors import UserError
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.regions.grounding import THRESHOLDS, hbb_iou
from rsmoe.metrics.tally import Tally, ratio


class PhraseGrounding(Metric):
    """Accuracy at IoU 0.5 and 0.7, and mean IoU, over the phrases of captions that are grounded.

    The box of a phrase is the first between its ``<p>...</p>`` and the next one; case and spaces of a phrase do not
    count. A phrase that the answer does not hold, or that has no box that can be read, is a miss, and counts in
    ``parse_failures``. ``n`` is the number of phrases.
    """

    protocol = Protocol(
        id="ground/phrases@1",
        title="Phrase grounding",
        tasks=("ground",),
        sentence="x100: acc@0.5 and acc@0.7 of phrases, and mean IoU, of the first horizontal box behind each phrase "
        "of the answer; a phrase without a box is a miss.",
        source="accuracy over phrases as in Flickr30k Entities, arXiv 1505.04870; the form is that of MiniGPT-v2",
    )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a sample; raises `UserError` where it does not say which phrases its boxes are of."""
        rows = []
        for sample, prediction in pairs:
            meta, true = sample.meta, sample.boxes_px
            phrases = [_key(phrase) for phrase in meta.get("phrases", ())]
            if not phrases or true is None or len(true) != len(phrases) or not meta.get("box_convention"):
                raise UserError(
                    f"sample {sample.id!r} has no box for each phrase: it needs meta phrases, box_convention, size_px"
                )
            said = _boxes(prediction.text, str(meta["box_convention"]), tuple(meta["size_px"]))
            iou = [
                float(hbb_iou(said[phrase], box)[0, 0]) if phrase in said else 0.0
                for phrase, box in zip(phrases, true, strict=True)
            ]
            right = [sum(value >= least for value in iou) for least in THRESHOLDS]
            rows.append([len(phrases), sum(iou), *right, sum(phrase not in said for phrase in phrases)])

        def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
            n, iou, half, more, failed = np.moveaxis(sums, -1, 0)
            numbers = {"acc@0.5": ratio(half, n), "acc@0.7": ratio(more, n), "miou": ratio(iou, n)}
            return numbers | {"n": n, "parse_failures": failed}

        return Tally(rows=np.array(rows, dtype=np.float64), finish=finish)


def _key(phrase: str) -> str:
    return " ".join(phrase.lower().split())


def _boxes(text: str, convention: str, size_px: tuple[int, int]) -> dict[str, np.ndarray]:
    """Phrase of an answer -> (1, 4) its box; of one that is there twice the first that has one."""
    found: dict[str, np.ndarray] = {}
    spaced = text.replace("< / p >", "</p>").replace("< p >", "<p>")  # a vocabulary of words sets marks apart
    for part in spaced.split("<p>")[1:]:
        phrase, _, behind = part.partition("</p>")
        boxes = parse(behind, convention=convention, size_px=size_px).boxes
        if len(boxes):
            found.setdefault(_key(phrase), boxes[:1])
    return found

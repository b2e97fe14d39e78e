"""Boxes that a head gives beside its masks against the true ones."""

from __future__ import annotations

import numpy as np

from rsmoe.data.boxes import ParsedBoxes
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.regions.grounding import grounding_row, grounding_tally
from rsmoe.metrics.tally import Tally


class ObjectBoxes(Metric):
    """`rsmoe.metrics.regions.grounding.Grounding` of `Prediction.boxes_px`, in their order.

    Samples without a true box, as those that ask for what is not there, are left out; an answer without a box is a
    parse failure.
    """

    protocol = Protocol(
        id="mask/boxes@1",
        title="Boxes beside masks",
        tasks=("mask",),
        sentence="Boxes of a head, x100: acc@0.5 and acc@0.7 of true boxes, their mean IoU, and AP at IoU 0.5 in one "
        "point, precision times recall, matched one to one in float pixels; of an answer to m true boxes the first m "
        "count for acc and IoU, those of the highest sum of probabilities. No box is a miss of each.",
        source="as ground/hbb@1",
        fields=("boxes_px",),
    )

    def tally(self, pairs: Pairs) -> Tally | None:
        """One row a sample; None where no sample has a true box."""
        rows = []
        for sample, prediction in pairs:
            if sample.boxes_px is not None and len(sample.boxes_px):
                said = np.zeros((0, 4), np.float32) if prediction.boxes_px is None else prediction.boxes_px
                answer = ParsedBoxes(boxes=said, failed=() if len(said) else ("",))
                rows.append(grounding_row(answer, sample.boxes_px))
        return grounding_tally(rows) if rows else None

"""Agreement of class maps: the mIoU of semantic segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.data.rasters.images import images_key, read_array
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.sample import Lazy, Sample
from rsmoe.errors import UserError
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.tally import Tally, ratio

OUTPUT = "land_cover"
"""Key of `Prediction.outputs`: (H, W) uint8 class of each pixel, an index into ``Sample.classes``."""


class ClassMapIoU(Metric):
    """IoU per class from one confusion matrix over all pixels, their mean, and the share of right pixels.

    Pixels whose true value is 255 are not scored; a predicted value that is no class is a wrong one, and so is every
    pixel of an image without a predicted map, which is a parse failure. A class that neither a true nor a predicted map
    holds has no IoU and is left out of the mean; one that only a prediction holds has IoU 0 and counts. Each image
    counts once, whatever is asked about it; images without a class map are left out. Everingham et al., "The PASCAL
    visual object classes challenge", IJCV 2010.
    """

    protocol = Protocol(
        id="segmentation/miou@1",
        title="mIoU of class maps",
        tasks=("caption", "vqa", "ground", "mask", "retrieval"),
        sentence="IoU per class from one confusion matrix of all pixels, its mean, and the share of right pixels, "
        "x100; pixels of unknown class are left out. An image without a map has every pixel wrong.",
        source="PASCAL VOC; LEVIR-MCI (Change-Agent, arXiv 2403.19646)",
        scorer="scikit-learn's jaccard_score(average='macro') on the pixels",
        tolerance="1e-9",
        fields=(OUTPUT,),
    )

    def tally(self, pairs: Pairs) -> Tally | None:
        """One row an image; None without a class map of one date.

        Raises:
            UserError: sizes differ, a true value is no class, or samples do not name the same classes.
        """
        known: dict[Any, tuple[Sample, np.ndarray | Lazy, Prediction]] = {}
        for sample, prediction in pairs:
            if sample.class_map is not None and len(sample.images) == 1:
                known.setdefault((sample.source, images_key(sample)), (sample, sample.class_map, prediction))
        if not known:
            return None
        names = next(iter(known.values()))[0].classes
        rows = []
        for sample, class_map, prediction in known.values():
            if sample.classes != names or not names:
                raise UserError(f"sample {sample.id!r} has the classes {sample.classes}, others have {names}")
            said, true = prediction.outputs.get(OUTPUT), read_array(class_map)
            if said is not None and said.shape != true.shape:
                raise UserError(f"sample {sample.id!r}: map of {said.shape} against a true one of {true.shape}")
            if true[true != UNKNOWN].max(initial=0) >= len(names):
                raise UserError(f"sample {sample.id!r}: the true map holds values beyond its {len(names)} classes")
            rows.append([1.0, said is None, *confusion(said, true, len(names)).ravel()])
        return class_map_tally(np.array(rows, dtype=np.float64), names)


def confusion(said: np.ndarray | None, true: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes + 1) pixels by true and predicted class, in the last column those that are none.

    Args:
        said: (H, W) predicted classes; None: none at all.
        true: (H, W) true ones; 255 is not scored.
    """
    scored = true != UNKNOWN
    truth = true[scored].astype(np.int64)
    given = np.full(truth.shape, classes) if said is None else said[scored].astype(np.int64)
    given = np.where((given >= 0) & (given < classes), given, classes)
    return np.bincount(truth * (classes + 1) + given, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def class_map_tally(rows: np.ndarray, names: Sequence[str]) -> Tally:
    """miou, pixel_accuracy, iou/<class>, n (images), parse_failures of rows of one, missing, and `confusion`."""

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        table = sums[..., 2:].reshape(*sums.shape[:-1], len(names), len(names) + 1)
        both = np.diagonal(table, axis1=-2, axis2=-1)
        iou = ratio(both, table.sum(-1) + table[..., : len(names)].sum(-2) - both)
        defined = np.isfinite(iou)
        return {
            "miou": ratio(np.where(defined, iou, 0.0).sum(-1), defined.sum(-1)),
            "pixel_accuracy": ratio(both.sum(-1), table.sum((-2, -1))),
            **{f"iou/{name}": iou[..., i] for i, name in enumerate(names)},
            "n": sums[..., 0],
            "parse_failures": sums[..., 1],
        }

    return Tally(rows=rows, finish=finish)

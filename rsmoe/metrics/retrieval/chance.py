"""What random embeddings reach in image-text retrieval: the level that a result must be compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.retrieval.recall import RANKS, expected_hit
from rsmoe.metrics.tally import Tally, whole


class RetrievalChance(Metric):
    """Expected recalls of random embeddings, in closed form; predictions are not read.

    Args:
        unique: of unique captions.
    """

    def __init__(self, *, unique: bool = False) -> None:
        self.unique = unique
        of = f"retrieval/{'unique' if unique else 'all'}-captions@1"
        self.protocol = Protocol(
            id=f"retrieval/chance{'-unique' if unique else ''}@1",
            title=f"Chance level of {of}",
            tasks=("retrieval",),
            sentence=f"What random embeddings reach under {of}, in closed form, x100.",
            fields=(),
        )

    def tally(self, pairs: Pairs) -> Tally:
        """One row an image; the numbers are of the whole, so that they have no interval."""
        texts = [set(s.responses) if self.unique else s.responses for s, _ in pairs]
        images = Counter(text for own in texts for text in own)
        values = chance_recalls([len(own) for own in texts], list(images.values()) if self.unique else None)
        return whole(values, n=len(texts))


def chance_recalls(texts_per_image: Sequence[int], images_per_text: Sequence[int] | None = None) -> dict[str, float]:
    """The same keys as `rsmoe.metrics.retrieval.recall.recall_tally`, expected of random embeddings.

    Args:
        texts_per_image: number of captions of each image; of unique captions, how many of them are right for it.
        images_per_text: number of images that each unique caption is right for; None where every image has its own.
    """
    owners = [1] * sum(texts_per_image) if images_per_text is None else images_per_text
    n, m = len(texts_per_image), len(owners)
    result = {f"i2t_r{k}": sum(expected_hit(k, 0, m, own) for own in texts_per_image) / n for k in RANKS}
    result |= {f"t2i_r{k}": sum(expected_hit(k, 0, n, own) for own in owners) / m for k in RANKS}
    return {**result, "mr": sum(result.values()) / len(result)}

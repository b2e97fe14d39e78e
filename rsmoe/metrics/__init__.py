"""Metric contract.

One file per family; pure Python, numpy and torch, no Java, no download. A `Metric` has a `Protocol`, and makes of pairs
of a sample and its prediction a `Tally`: the sums that each sample adds, and the numbers that follow from them. From
these come every `Result`, its bootstrap interval, its paired difference and the same numbers of the trivial baselines.

A metric of your own needs one py and one yaml, ``metric/<name>.yaml`` in a folder of yours::

    # @package evaluation.metrics.length
    _target_: mine.Length

    class Length(Metric):
        protocol = Protocol(id="mine/length@1", title="Words", sentence="Mean number of words.", tasks=("caption",))
        unscaled = frozenset(("words",))  # else x100

        def tally(self, pairs):
            rows = np.array([[1.0, len(p.text.split())] for _, p in pairs])
            return Tally(rows=rows, finish=lambda sums: {"words": sums[..., 1] / sums[..., 0], "n": sums[..., 0]})

``--config-dir <folder> +metric=<name>`` adds it to what training, ``rsmoe.evaluate`` and ``rsmoe.score`` measure;
``rsmoe.score protocol=mine/length@1`` scores files with it. `protocols` lists every protocol there is.
"""

from rsmoe.metrics.lookup import find_metric, metrics, protocols
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.result import Result
from rsmoe.metrics.tally import Tally

__all__ = ["Metric", "Pairs", "Prediction", "Protocol", "Result", "Tally", "find_metric", "metrics", "protocols"]

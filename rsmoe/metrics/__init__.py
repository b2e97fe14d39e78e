"""Metric contract.

One file per family, each a ``torchmetrics.Metric`` over texts, masks or embeddings; pure Python and torch, no Java, no
download. ``compute()`` returns ``dict[str, float]``. Every number leaves the library as a `Result`, with its protocol.

A metric of your own needs one py and one yaml, ``metric/<name>.yaml`` in a folder of yours, which starts with
``# @package evaluation.metrics.<name>``; it is measured with ``--config-dir <folder> +metric=<name>``. It has

- ``tasks: Sequence[str]``   the tasks whose samples it sees;
- ``protocol: str``          its id, "caption/length@1";
- ``update(predictions: list[Prediction], samples: list[Sample])``, and ``compute()`` on the scale that papers print;
  its "n", "n/<number>" and "parse_failures", where it gives them, are what stands beside the numbers.
"""

from rsmoe.metrics.result import Result

__all__ = ["Result"]

"""Metric contract.

One file per family, each a ``torchmetrics.Metric`` over texts, masks or embeddings; pure Python and torch, no Java, no
download. ``compute()`` returns ``dict[str, float]``. Every number leaves the library as a `Result`, with its protocol.
"""

from rsmoe.metrics.result import Result

__all__ = ["Result"]

"""Temporal contract: visual tokens of T dates -> `VisualMemory`.

A module is an ``nn.Module`` in one file with one yaml in ``conf/temporal/``; its constructor takes ``width``:

- ``forward(tokens: (B, T, N, D), frames: (B,) long) -> VisualMemory``;
- one batch may mix samples of one date and of two: a sample with ``frames == 1`` passes its N tokens through unchanged
  (the rest of its memory is masked), one with ``frames == 2`` goes through the difference perception;
- training and generation call this same function, and nothing else.
"""

from rsmoe.temporal.memory import VisualMemory

__all__ = ["VisualMemory"]

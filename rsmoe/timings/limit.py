"""How fast a computation could be at best: its products, at the rate of a large one on the same core."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def core_rate(*, side: int = 1024, repetitions: int = 9) -> float:
    """Floating point operations a processor second, of the product of two square fp32 matrices: the fastest of many."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    best = float("inf")
    for _ in range(repetitions):
        start = time.process_time()
        torch.mm(a, b)
        best = min(best, time.process_time() - start)
    return 2 * side**3 / best


def operations(way: Callable[[], object]) -> float:
    """Floating point operations of the products, convolutions and attentions of a call."""
    with FlopCounterMode(display=False) as counter:
        way()
    return float(counter.get_total_flops())

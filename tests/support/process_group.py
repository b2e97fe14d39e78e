"""Two processes of a test that train together."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def process_group(rank: int, port: int) -> Iterator[None]:
    """A gloo group of two on this machine; inside, every ``DistributedDataParallel`` has to be deleted.

    One that is left would drop the group last, and its destructor waits for gloo's threads without letting the
    interpreter go, which these may be waiting for: a deadlock, once in some hundred runs.
    """
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    yield
    gc.collect()
    torch.distributed.destroy_process_group()

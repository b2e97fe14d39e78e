"""Two processes of a test that train together."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.spawn import start_processes


def in_two(work: Callable[..., None], *arguments: Any) -> None:
    """Calls ``work(rank, *arguments)`` in two processes, as a gloo group on this machine.

    They are forks where there is no GPU: importing PyTorch again would take ten times as long as the work. Every
    ``DistributedDataParallel`` has to be deleted in ``work``. One that is left would drop the group last, and its
    destructor waits for gloo's threads without letting the interpreter go, which these may be waiting for: a deadlock,
    once in some hundred runs.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    method = "spawn" if torch.cuda.is_available() else "fork"
    start_processes(_member, args=(port, work, arguments), nprocs=2, start_method=method)  # type: ignore[no-untyped-call]


def _member(rank: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    work(rank, *arguments)
    gc.collect()
    torch.distributed.destroy_process_group()

"""Work that the processes of a run share once training is over: each does its part, all have the whole."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from torch import distributed, nn

from rsmoe.errors import UserError

T = TypeVar("T")


def my_share() -> tuple[int, int]:
    """(rank, world): this process does part ``rank``, ``rank + world``, ... of the work. (0, 1) of a single process."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def gathered(own: Sequence[T]) -> list[T]:
    """The parts of all ranks in the order of the work; every rank has to call it, with what can be pickled.

    Args:
        own: parts ``rank``, ``rank + world``, ... of this rank, see `my_share`.
    """
    world = my_share()[1]
    if world == 1:
        return list(own)
    shares: list[list[T]] = [[] for _ in range(world)]
    distributed.all_gather_object(shares, list(own))
    return [shares[part % world][part // world] for part in range(sum(map(len, shares)))]


def same_buffers(model: nn.Module) -> None:
    """Gives all ranks the buffers of the first: running statistics of batch norm end with a batch of its own each."""
    if my_share()[1] > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def leave_group() -> None:
    """Ends the process group, where there is one: from here on no process waits for another.

    A DDP wrapper that nobody has collected yet would drop the group last, and gloo's destructor would then wait, with
    the interpreter locked, for threads that wait for the interpreter: for ever (pytorch/pytorch#56297).
    """
    if distributed.is_available() and distributed.is_initialized():
        gc.collect()
        distributed.destroy_process_group()


@contextmanager
def whole_group(folder: Path) -> Iterator[None]:
    """Turns the error of a process that waits for one that is gone, or that never came, into a line.

    Args:
        folder: of the run, from where it can go on.
    """
    try:
        yield
    except distributed.DistStoreError as error:
        raise UserError(
            f"the processes of this run did not all start: {error} What the others said stands above. Is MASTER_ADDR:"
            "MASTER_PORT reached from every node? Is LOCAL_RANK left over from another program (unset LOCAL_RANK)?"
        ) from error
    except RuntimeError as error:  # distributed.DistBackendError, of nccl, is one
        lost = ("gloo", "nccl", "connection closed", "connection reset", "connection refused", "socket timeout")
        if my_share()[1] == 1 or not any(word in str(error).lower() for word in lost):
            raise
        kept = any((folder / "checkpoints").glob("*.ckpt"))
        raise UserError(
            "another process of this run is gone; what it said last stands above. "
            + (f"Continue with: resume={folder}" if kept else "There is no checkpoint yet: start again")
        ) from error

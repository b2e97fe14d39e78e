"""What the processes of one run share before torch is loaded: the name of its folder, and the cores."""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta

WAIT_S = 600
"""How long a process waits for the first one to say the name."""


def stamp() -> str:
    """Date and time, "2026-11-29_18-40-00"; in a job of several processes the same for all of them.

    Under SLURM it is the job's number (and its step's), which every task knows. Under torchrun the first process tells
    the others through torchrun's own store.
    """
    now = time.strftime("%Y-%m-%d_%H-%M-%S")
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if several and "TORCHELASTIC_RUN_ID" in os.environ:
        return _agreed(now)
    if int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in os.environ:
        step = os.environ.get("SLURM_STEP_ID", "0")
        return f"slurm-{os.environ['SLURM_JOB_ID']}" + (f"-{step}" if step != "0" else "")
    return now


def prepare_processes(processes: int | str) -> None:
    """Sets what several processes need in their environment before torch is loaded.

    No warnings from DDP's search for idle parameters, and threads by the cores that may be used, which can be fewer
    than there are.
    """
    if processes == 1:
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if isinstance(processes, int) and processes > 1 and hasattr(os, "sched_getaffinity"):
        threads = os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
        if "torch" in sys.modules and threads.isdigit():  # a run that goes on says only now how many processes it has
            sys.modules["torch"].set_num_threads(int(threads))


def _agreed(now: str) -> str:
    from torch.distributed import TCPStore

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=WAIT_S))
    key = f"rsmoe/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/stamp"
    if int(os.environ["RANK"]) == 0:
        store.set(key, now)
    return str(store.get(key).decode())

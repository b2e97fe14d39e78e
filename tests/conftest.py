"""One thread, no network, a cache of its own, and a stated reason for every skip."""

from __future__ import annotations

import atexit
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# before torch, transformers and wandb are imported; child processes inherit them
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RSMOE_CACHE"] = tempfile.mkdtemp(prefix="rsmoe-test-")  # what tests draw is never found by anyone else

import pytest
import torch
from support.reliability import SOAK, Counts

COUNTS = Counts()

torch.set_num_threads(1)
atexit.register(shutil.rmtree, os.environ["RSMOE_CACHE"], ignore_errors=True)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    COUNTS.add(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if SOAK and not hasattr(session.config, "workerinput"):
        COUNTS.write(Path(SOAK))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = os.environ.get("RSMOE_DATA", "")
    no_data = "" if root and Path(root).is_dir() else f"needs real data: RSMOE_DATA={root!r} names no folder"
    no_gpu = "" if torch.cuda.is_available() else "needs a CUDA device"
    for item in items:
        for marker, reason in (("real_data", no_data), ("gpu", no_gpu)):
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """Variables are after a test as before it: Lightning leaves ``LOCAL_RANK`` behind, and a command of two processes
    that finds it waits for one which nobody starts."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to anything but this machine raise; loopback and unix sockets (DDP, workers) work."""

    def guard(name: str) -> Callable[..., Any]:
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any, *args: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
                raise RuntimeError(f"a test tried to reach {address}: tests run without the network")
            return real(self, address, *args)

        return guarded

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guard(name))


def _is_local(host: str) -> bool:
    if host in ("localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

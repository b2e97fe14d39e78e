"""Two processes, gloo: the same numbers as one, also where one rank saw nothing."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed
from torch import multiprocessing as mp
from torchmetrics import Metric

from rsmoe.metrics.captions import Caption
from rsmoe.metrics.change_captions import ChangeCaptions
from rsmoe.metrics.masks import MaskIoU
from rsmoe.metrics.retrieval import Retrieval
from rsmoe.metrics.routing import RoutingStats
from rsmoe.metrics.vqa import VQA

N = 11
SHARES = {"uneven": (range(7), range(7, N)), "one rank empty": (range(N), range(0))}


def metrics(indices: Iterable[int]) -> dict[str, Metric]:
    """Every metric, after one update a sample."""
    rng = np.random.default_rng(3)
    words = "a green lake near the road with many planes é".split()
    texts = [" ".join(rng.choice(words, 7)) for _ in range(2 * N)]
    masks = rng.random((2, N, 5, 5)) > 0.5
    images, captions = torch.from_numpy(rng.normal(size=(N, 8))), torch.from_numpy(rng.normal(size=(N, 2, 8)))
    weights = torch.from_numpy(rng.dirichlet([1, 1], N))
    result: dict[str, Metric] = {
        "caption": Caption(),
        "change": ChangeCaptions(),
        "vqa": VQA(),
        "mask": MaskIoU(),
        "retrieval": Retrieval(),
        "routing": RoutingStats(experts=("x", "y"), expert_tasks=(("caption",), ("vqa",))),
    }
    for i in indices:
        kind = "changed" if i % 2 else "unchanged"
        result["caption"].update([texts[i]], [[texts[-i], texts[i // 2]]])
        result["change"].update([texts[i]], [[texts[-i], texts[i // 2]]], [kind])
        result["vqa"].update(["yes"], [["yes" if i % 3 else "no"]], ["presence" if i < 8 else "count"])
        result["mask"].update([masks[0, i]], [masks[1, i]])
        result["retrieval"].update(images[i : i + 1], [f"i{i}"], captions[i], [f"i{i}"] * 2)
        result["routing"].update(weights[i : i + 1], torch.tensor([i % 2]))
    return result


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    values = {name: {key: m.compute() for key, m in metrics(parts[rank]).items()} for name, parts in SHARES.items()}
    Path(folder, f"{rank}.json").write_text(json.dumps(values))
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_two_ranks_equal_one(tmp_path: Path) -> None:
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    alone = {key: m.compute() for key, m in metrics(range(N)).items()}
    for rank in range(2):
        values = json.loads((tmp_path / f"{rank}.json").read_text())
        for name in SHARES:
            for key, expected in alone.items():
                assert values[name][key] == pytest.approx(expected, abs=1e-9), (rank, name, key)


@pytest.mark.parametrize("name", metrics(range(0)))
def test_reset_and_step_values(name: str) -> None:
    """``forward`` returns the batch's value and still accumulates; ``reset`` forgets."""
    metric = metrics(range(N))[name]
    before = metric.compute()
    metric.reset()
    fresh = metrics(range(N))[name]
    metric._copy_state_dict()
    for key, value in fresh.metric_state.items():
        setattr(metric, key, value)
    metric._update_count = fresh._update_count
    assert metric.compute() == pytest.approx(before, abs=1e-12)

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

from rsmoe.data.boxes import ParsedBoxes
from rsmoe.metrics.captions import Caption
from rsmoe.metrics.change import ChangePresence
from rsmoe.metrics.change_captions import ChangeCaptions
from rsmoe.metrics.grounding import Grounding
from rsmoe.metrics.masks import MaskIoU
from rsmoe.metrics.retrieval import Retrieval
from rsmoe.metrics.routing import RoutingStats
from rsmoe.metrics.text_quality import TextQuality
from rsmoe.metrics.vqa import VQA

N = 11
SHARES = {"uneven": (range(7), range(7, N)), "one rank empty": (range(N), range(0))}


def new() -> dict[str, Metric]:
    return {
        "caption": Caption(),
        "change": ChangeCaptions(),
        "vqa": VQA(),
        "mask": MaskIoU(),
        "retrieval": Retrieval(),
        "meteor": Caption(meteor=True),
        "text": TextQuality(),
        "ground": Grounding(),
        "presence": ChangePresence(),
        "routing": RoutingStats(experts=("x", "y"), expert_tasks=(("caption",), ("vqa",))),
    }


def fill(metrics: dict[str, Metric], indices: Iterable[int]) -> None:
    """One update a sample."""
    rng = np.random.default_rng(3)
    words = "a green lake near the road with many planes é".split()
    texts = [" ".join(rng.choice(words, 7)) for _ in range(2 * N)]
    masks = rng.random((2, N, 5, 5)) > 0.5
    images, captions = torch.from_numpy(rng.normal(size=(N, 8))), torch.from_numpy(rng.normal(size=(N, 2, 8)))
    corners = np.sort(rng.uniform(0, 50, (2, N, 1, 2, 2)), axis=3)  # x1 y1, x2 y2
    boxes = corners.reshape(2, N, 1, 4).astype(np.float32)
    weights = torch.from_numpy(rng.dirichlet([1, 1], N))
    for i in indices:
        kind = "changed" if i % 2 else "unchanged"
        pair = [texts[i]], [[texts[-i], texts[i // 2]]]
        updates = {
            "caption": pair,
            "change": (*pair, [kind]),
            "vqa": (["yes"], [["yes" if i % 3 else "no"]], ["presence" if i < 8 else "count"]),
            "mask": ([masks[0, i]], [masks[1, i]]),
            "meteor": pair,
            "text": ([texts[i]], [["ship"]]),
            "ground": ([ParsedBoxes(boxes=boxes[0, i], failed=())], [boxes[1, i]]),
            "presence": (["yes" if i % 3 else "no"], [bool(i % 2)]),
            "retrieval": (images[i : i + 1], [f"i{i}"], captions[i], [f"i{i}"] * 2),
            "routing": (weights[i : i + 1], torch.tensor([i % 2])),
        }
        for name, metric in metrics.items():
            metric.update(*updates[name])


def computed(indices: Iterable[int]) -> dict[str, dict[str, float]]:
    metrics = new()
    fill(metrics, indices)
    return {name: metric.compute() for name, metric in metrics.items()}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    values = {name: computed(parts[rank]) for name, parts in SHARES.items()}
    Path(folder, f"{rank}.json").write_text(json.dumps(values))
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_two_ranks_equal_one(tmp_path: Path) -> None:
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    alone = computed(range(N))
    for rank in range(2):
        values = json.loads((tmp_path / f"{rank}.json").read_text())
        for name in SHARES:
            for key, expected in alone.items():
                assert values[name][key] == pytest.approx(expected, abs=1e-9), (rank, name, key)


@pytest.mark.parametrize("name", new())
def test_reset_forgets(name: str) -> None:
    metric = {name: new()[name]}
    fill(metric, range(4))
    metric[name].reset()
    fill(metric, range(N))
    expected = {name: new()[name]}
    fill(expected, range(N))
    assert metric[name].compute() == expected[name].compute()

"""The order of batches: pure in (seed, step), exact in its shares, disjoint over ranks, the same after a stop."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import Dataset

from rsmoe.data import Sample
from rsmoe.data.batch import Batch
from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.sampling.dataset_mixture import Mixture
from rsmoe.data.sampling.step_sampler import StepSampler
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.settings.stage import Stage

CODEC = TextCodec.fit(["what is this ? a b c"])


class Toy(Dataset[Sample]):
    """Rows with flat pictures; module level, so that spawned workers can be given it."""

    protocol = ""

    def __init__(self, name: str, size: int, split: str = "train") -> None:
        self.name, self.size, self.split = name, size, split

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.size:
            raise IndexError(index)
        image = np.full((8, 8, 3), index, np.uint8)
        return Sample(
            id=f"{self.name}{index}",
            images=(image,),
            instruction="what is this ?",
            responses=("a", "b c"),
            task="vqa",
            source=self.name,
        )


def module(**more: Any) -> RSDataModule:
    given = {
        "train": {"x": Toy("x", 13), "y": Toy("y", 30)},
        "test": {"x": Toy("x", 5, "test"), "y": Toy("y", 4, "test")},
        "codec": CODEC,
        "instruction_codec": CODEC,
        "image_size": 8,
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "eval_batch_size": 2,
    }
    return RSDataModule(**(given | more))


def ids(*batches: Batch) -> list[str]:
    return [sample.id for batch in batches for sample in batch.samples]


# --- the sampler ---


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    data=st.data(),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 2**32),
    steps=st.integers(0, 30),
)
@settings(max_examples=60, deadline=None)
def test_a_continued_run_gives_the_same_batches(
    sizes: list[int], data: st.DataObject, batch_size: int, seed: int, steps: int
) -> None:
    weights = data.draw(st.none() | st.lists(st.floats(0.01, 10), min_size=len(sizes), max_size=len(sizes)))
    start = data.draw(st.integers(0, steps))
    options: dict[str, Any] = {"sizes": sizes, "weights": weights, "batch_size": batch_size, "seed": seed}
    whole = list(StepSampler(**options, steps=steps))
    rest = StepSampler(**options, steps=steps, start_step=start)
    assert list(rest) == whole[start:] == list(rest)  # and a second pass is the same
    assert len(whole) == steps and all(len(batch) == batch_size for batch in whole)
    assert all(0 <= index < sum(sizes) for batch in whole for index, _ in batch)
    if steps:
        assert StepSampler(**options, steps=steps).batch(steps - 1) == whole[-1]


@given(world=st.integers(1, 5), batch_size=st.integers(1, 6), steps=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_ranks_share_the_draws_without_overlap(world: int, batch_size: int, steps: int) -> None:
    options: dict[str, Any] = {"sizes": [700, 300], "seed": 3, "steps": steps}
    ranks = [list(StepSampler(**options, batch_size=batch_size, rank=r, world=world)) for r in range(world)]
    one = list(StepSampler(**options, batch_size=batch_size * world))
    assert [[draw for rank in ranks for draw in rank[k]] for k in range(steps)] == one
    drawn = [index for rank in ranks for batch in rank for index, _ in batch]
    assert len(set(drawn)) == len(drawn)  # fewer draws than samples


def test_each_epoch_of_a_data_set_holds_every_sample_once() -> None:
    sampler = StepSampler(sizes=[7, 20], weights=[1, 1], batch_size=10, seed=1, steps=28)
    drawn = [index for batch in sampler for index, _ in batch]
    for first, size in ((0, 7), (7, 20)):
        own = [i - first for i in drawn if first <= i < first + size]
        epochs = [own[k : k + size] for k in range(0, len(own) - size + 1, size)]
        assert len(epochs) > 5 and all(sorted(epoch) == list(range(size)) for epoch in epochs)
        assert epochs[0] != epochs[1]


def test_shares_are_exact_over_a_cycle_and_even_in_batches() -> None:
    sampler = StepSampler(sizes=[50, 50, 5000], weights=[3, 1, 0], batch_size=50, seed=0, steps=20)
    counts = Counter(index // 50 for batch in sampler for index, _ in batch)
    assert counts == {0: 750, 1: 250}
    assert all(25 <= sum(index < 50 for index, _ in batch) <= 49 for batch in sampler)
    by_size = StepSampler(sizes=[100, 900], batch_size=100, seed=0, steps=10)
    assert Counter(index < 100 for batch in by_size for index, _ in batch) == {True: 100, False: 900}
    rare = StepSampler(sizes=[10, 10], weights=[1e-6, 1], batch_size=100, seed=0, steps=11)
    assert 1 <= sum(index < 10 for batch in rare for index, _ in batch) <= 2  # never left out


def test_seeds_differ_between_draws_and_runs() -> None:
    options: dict[str, Any] = {"sizes": [20], "batch_size": 20, "steps": 50}
    one, two = (list(StepSampler(**options, seed=s)) for s in (0, 1))
    seeds = [seed for batch in one for _, seed in batch]
    assert len(set(seeds)) > 0.99 * len(seeds) and one != two
    assert list(StepSampler(**options, seed=(0, 1))) != list(StepSampler(**options, seed=(0, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1]}, "of 2 data sets"),
        ({"weights": [0, 0]}, "one of them > 0"),
        ({"weights": [-1, 2]}, ">= 0"),
        ({"weights": [float("nan"), 2]}, ">= 0"),
        ({"sizes": [0, 5], "weights": [1, 1]}, "data set 0 is empty"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"start_step": 11}, "start_step=11"),
        ({"rank": 2, "world": 2}, "rank=2"),
    ],
)
def test_the_sampler_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        StepSampler(**({"sizes": [5, 5], "batch_size": 2, "seed": 0, "steps": 10} | options))


def test_the_mixture_finds_its_data_sets() -> None:
    mixture = Mixture([Toy("x", 3), Toy("y", 2)])
    assert [mixture[i, i + 10][0].id for i in range(5)] == ["x0", "x1", "x2", "y0", "y1"]
    assert mixture[4, 14][1] == 14 and len(mixture) == 5
    for index in (-1, 5):
        with pytest.raises(IndexError):
            mixture[index, 0]


# --- the module ---


def test_evaluation_covers_every_sample_once_in_order() -> None:
    data = module()
    expected = [f"x{i}" for i in range(5)] + [f"y{i}" for i in range(4)]
    assert ids(*data.eval_loader("test")) == expected
    assert ids(*data.eval_loader("test", limit=2)) == ["x0", "x3", "y0", "y3"], "evenly spread"
    assert ids(*data.eval_loader("test", name="y")) == expected[5:]
    ranks = [[ids(batch) for batch in data.eval_loader("test", rank=r, world=4)] for r in range(4)]
    assert [ranks[part % 4][part // 4] for part in range(5)] == [ids(batch) for batch in data.eval_loader("test")]
    assert next(iter(data.eval_loader("test"))).response_ids.shape == (2, 0)


def test_the_module_refuses_names_that_do_not_exist() -> None:
    data = module()
    with pytest.raises(UserError, match="unknown split 'tets'.*test"):
        data.eval_loader("tets")
    with pytest.raises(UserError, match="no data set for split 'val'"):
        data.eval_loader("val")
    with pytest.raises(UserError, match="unknown data set of split 'test' 'z'.*Known: x, y"):
        data.eval_loader("test", name="z")
    with pytest.raises(UserError, match="unknown training data set 'z'"):
        data.train_loader(batch_size=2, steps=1, weights={"z": 1.0})
    with pytest.raises(UserError, match="no training data"):
        module(train={})


def test_weights_by_name_leave_the_others_out() -> None:
    loader = module().train_loader(batch_size=4, steps=5, weights={"y": 1.0})
    assert all(name.startswith("y") for batch in loader for name in ids(batch))


def test_workers_change_nothing() -> None:
    loaders = [module(workers=workers).train_loader(batch_size=4, steps=4, start_step=1) for workers in (0, 2)]
    for a, b in zip(*loaders, strict=True):
        assert ids(a) == ids(b) and torch.equal(a.pixels, b.pixels) and torch.equal(a.response_ids, b.response_ids)


def test_all_that_a_spawned_worker_needs_can_be_pickled() -> None:
    loader = module().train_loader(batch_size=4, steps=2)
    mixture, collate = pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn)))
    again = collate([mixture[key] for key in next(iter(loader.batch_sampler))])
    assert torch.equal(again.pixels, next(iter(loader)).pixels)


class Recorder(pl.LightningModule):
    """Learns nothing and writes down what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, list[str], float]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.seen.append((self.trainer.global_step, ids(batch), float(batch.pixels.sum())))
        return self.weight * 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_stage_resumed_by_lightning_sees_what_it_would_have_seen(tmp_path: Path) -> None:
    def run(checkpoint: Path | None) -> Recorder:
        data, recorder = module(), Recorder()
        data.stage(Stage(name="s", steps=10, batch_size=4, mix={"x": 1, "y": 3}), 1)
        pl.Trainer(
            max_steps=10,
            max_epochs=-1,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=3, save_top_k=-1)],
        ).fit(recorder, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        return recorder

    whole = run(None).seen
    assert [step for step, _, _ in whole] == list(range(10))
    for step in (3, 9):
        assert run(tmp_path / f"step={step}.ckpt").seen == whole[step:]


# --- draws of views ---

GROUPS = [
    [([0, 1, 2], []), ([3], [3, 3]), ([4, 5], [4])],
    [([i], []) for i in range(4)],
]


def test_a_draw_of_a_view_gives_its_requests_with_one_seed() -> None:
    sampler = StepSampler(sizes=[6, 4], groups=GROUPS, per_view=3, weights=[1, 0], batch_size=3, seed=4, steps=2)
    for batch in sampler:
        by_seed: dict[int, list[int]] = {}
        for index, seed in batch:
            by_seed.setdefault(seed, []).append(index)
        assert sorted(map(sorted, by_seed.values())) == [[0, 1, 2], [3, 3, 3], [4, 4, 5]]


def test_visits_to_a_view_take_its_requests_in_turn() -> None:
    sampler = StepSampler(sizes=[5], groups=[[([0, 1, 2, 3, 4], [0] * 9)]], per_view=2, batch_size=1, seed=0, steps=5)
    asked = Counter(index for batch in sampler for index, _ in batch)
    assert asked == dict.fromkeys(range(5), 2)  # never again while others wait


@given(start=st.integers(0, 9), world=st.sampled_from([1, 2]))
@settings(max_examples=10, deadline=None)
def test_draws_of_views_resume_and_split_over_ranks(start: int, world: int) -> None:
    options: dict[str, Any] = {"sizes": [6, 4], "groups": GROUPS, "per_view": 2, "seed": 3, "steps": 9}
    whole = list(StepSampler(**options, batch_size=2 * world))
    parts = [list(StepSampler(**options, batch_size=2, rank=r, world=world, start_step=start)) for r in range(world)]
    assert [list(chain(*ranks)) for ranks in zip(*parts, strict=True)] == whole[start:]


def test_a_loader_of_views_encodes_each_once() -> None:
    toy = Pictures()
    loader = module(train={"p": toy}).train_loader(batch_size=2, steps=4, per_view=3)
    for batch in loader:
        assert len(batch.pixels) == 2 and len(batch) == 6 and batch.view.bincount().tolist() == [3, 3]
        for place, sample in enumerate(batch.samples):  # every request looks at its own picture
            assert sample.id[0] == batch.samples[int((batch.view == batch.view[place]).nonzero()[0])].id[0]


class Pictures(Dataset[Sample]):
    """Two questions of two answers each on each of three pictures."""

    pictures = tuple(np.full((8, 8, 3), 80 * i, np.uint8) for i in range(3))

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Sample:
        view, question = divmod(index, 2)
        return Sample(
            id=f"{view}-{question}", images=(self.pictures[view],), instruction="what is this ?",
            responses=("a", "b"), task="vqa", source="p",
        )  # fmt: skip

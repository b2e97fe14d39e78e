"""A run that trains from streams through the data module: killed within an epoch, it goes on with the same samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import codecs, requests, tiny_config, tiny_model
from support.runs import TRAINER
from support.shard_data import Listed, shards_of

from rsmoe.data.batch import Batch
from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.shards.dataset import ShardDataset
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.module import StageModule
from rsmoe.training.run import load_checkpoint, run_stages

STEPS = 9
"""Batches of four draws: more than three epochs of the ten samples, killed in the second."""


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`requests` as two data sets of shards."""
    root = tmp_path_factory.mktemp("shards")
    samples = requests()
    for name, part in (("many", samples[:8]), ("few", samples[8:])):
        shards_of(Listed(part, name=name), root / name, shard_size=3)
    return root


def data_of(root: Path, *, workers: int, stream: dict[str, Any] | None) -> RSDataModule:
    codec, words = codecs()
    return RSDataModule(
        train={name: ShardDataset(root=str(root / name), split="train") for name in ("many", "few")},
        codec=codec, instruction_codec=words, image_size=32, mean=(0.5,) * 3, std=(0.25,) * 3, seed=3,
        workers=workers, stream=stream,
    )  # fmt: skip


def train(
    folder: Path, root: Path, *, workers: int, resume: Path | None = None, per_view: int = 1
) -> tuple[RSMoE, list[dict[str, Any]]]:
    codec, words = codecs()
    stage = Stage(
        name="dense", steps=STEPS, single_expert=True, train=["*", "-router.*"], batch_size=4,
        requests_per_view=per_view, losses={"text": 1.0}, mix={"many": 2.0, "few": 1.0},
    )  # fmt: skip
    model = tiny_model(scrambled=False)
    config = {"config": tiny_config(), "codec": codec.state(), "instruction_codec": words.state()}
    trace = run_stages(
        model=model, data=data_of(root, workers=workers, stream={"buffer": 12, "lanes": 2}), stages=[stage],
        folder=folder, seed=3, hparams=config, trainer=TRAINER, logger=None, checkpoint_every=2, resume=resume,
    )  # fmt: skip
    return model, trace


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[str]]:
    """Step -> the samples that were trained on."""
    steps: dict[int, list[str]] = {}
    real = StageModule.training_step

    def training_step(self: StageModule, batch: Batch, batch_idx: int) -> Any:
        steps[self.trainer.global_step] = [f"{sample.source}/{sample.id}" for sample in batch.samples]
        if len(steps) == getattr(self.trainer, "_killed_after", 0):
            raise Killed
        return real(self, batch, batch_idx)

    monkeypatch.setattr(StageModule, "training_step", training_step)
    return steps


@pytest.mark.parametrize(("workers", "per_view"), [(0, 1), (2, 1), (2, 2)])
def test_a_killed_run_goes_on_with_the_samples_that_were_next(
    shards: Path,
    tmp_path: Path,
    seen: dict[int, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    per_view: int,
) -> None:
    model, trace = train(tmp_path / "whole", shards, workers=0, per_view=per_view)
    whole = dict(seen)
    assert list(whole) == list(range(STEPS)) and len({name for step in whole.values() for name in step}) == 10
    seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr("lightning.pytorch.Trainer._killed_after", 6, raising=False)  # in step 5: 4 are kept
        with pytest.raises(Killed):
            train(tmp_path / "killed", shards, workers=workers, per_view=per_view)
    assert seen == {step: whole[step] for step in range(6)}
    assert load_checkpoint(tmp_path / "killed")["global_step"] == 4
    seen.clear()
    resumed, again = train(tmp_path / "resumed", shards, workers=workers, per_view=per_view, resume=tmp_path / "killed")
    assert seen == {step: whole[step] for step in range(4, STEPS)}
    assert again == trace
    ours, theirs = resumed.state_dict(), model.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_ranks_share_the_samples_of_a_stream(shards: Path) -> None:
    data = data_of(shards, workers=0, stream={"buffer": 12, "lanes": 1})
    options = {"batch_size": 4, "steps": 2, "weights": {"many": 1.0}, "world": 2}
    loaders = [data.train_loader(rank=rank, **options) for rank in range(2)]  # type: ignore[arg-type]
    first = [{sample.id for sample in next(iter(loader)).samples} for loader in loaders]
    assert [len(ids) for ids in first] == [4, 4] and len(first[0] | first[1]) == 8


def test_a_stream_asks_for_shards(shards: Path) -> None:
    codec, words = codecs()
    data = RSDataModule(
        train={"hand": Listed(requests())}, codec=codec, instruction_codec=words, image_size=32,
        mean=(0.5,) * 3, std=(0.25,) * 3, stream={},
    )  # fmt: skip
    with pytest.raises(UserError, match=r"loader\.stream reads shards, and hand is none\. Write it first: python -m"):
        data.train_loader(batch_size=2, steps=1)

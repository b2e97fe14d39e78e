"""The loaders of a run."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from rsmoe.data.batch import Batch
from rsmoe.data.collate import Collate
from rsmoe.data.rasters.images import images_key
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.dataset_mixture import Mixture
from rsmoe.data.sampling.spread import spread
from rsmoe.data.sampling.step_sampler import StepSampler
from rsmoe.data.shards.dataset import ShardDataset
from rsmoe.data.shards.stream import Stream
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError, require_known

if TYPE_CHECKING:
    from rsmoe.settings.stage import Stage

Datasets = Mapping[str, Dataset[Sample]]
"""Data sets of one split by name."""


class RSDataModule(LightningDataModule):
    """Named data sets per split, and a loader of `Batch`es for each stage of training and for evaluation.

    Its loaders shard by themselves: give ``Trainer(use_distributed_sampler=False)``.

    Args:
        train, val, test: data sets by name; ``val`` and ``test`` may be empty.
        codec, instruction_codec: of the language model and of the Q-Former.
        image_size, mean, std: of the pixels, see `Collate`.
        eval_batch_size: samples a batch in evaluation, on each rank.
        workers: loader processes, on each rank.
        stream: options of `Stream` ("buffer", "lanes" ...): training sets that are shards are read as streams, for more
            pictures than fit on a disk near by; None reads by index.
        collate: further options of `Collate`, for training and evaluation ("max_prompt", "cache_bytes" ...).
    """

    def __init__(
        self,
        *,
        train: Datasets,
        val: Datasets | None = None,
        test: Datasets | None = None,
        codec: TextCodec,
        instruction_codec: TextCodec,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        eval_batch_size: int = 32,
        workers: int = 0,
        seed: int = 0,
        augment: bool = True,
        collate: Mapping[str, Any] | None = None,
        stream: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not train:
            raise UserError("no training data: name at least one data set")
        self.datasets: dict[str, Datasets] = {"train": train, "val": val or {}, "test": test or {}}
        self.eval_batch_size, self.workers, self.seed = eval_batch_size, workers, seed
        self._stage: tuple[Stage, int] | None = None
        self._validated: int | None = None
        self.stream = stream
        self._grouped: dict[str, list[tuple[list[int], list[int]]]] = {}
        options = dict(collate or {}) | {
            "codec": codec,
            "instruction_codec": instruction_codec,
            "image_size": image_size,
            "mean": mean,
            "std": std,
        }
        self.train_collate = Collate(**options, augment=augment)
        self.val_collate = Collate(**options)
        self.eval_collate = Collate(**options, inference=True)

    def train_loader(
        self,
        *,
        batch_size: int,
        steps: int,
        start_step: int = 0,
        weights: Mapping[str, float] | None = None,
        per_view: int = 1,
        stage: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> DataLoader[Batch]:
        """Batches ``start_step`` to ``steps`` of one stage: the same batches, whether or not the run was interrupted.

        Args:
            batch_size: draws a batch, of this rank.
            start_step: the first one that is still to come.
            weights: share of each data set by name; a name left out is not used; None or {} means all, by size.
            per_view: 1 draws single samples; more draws pictures, or pairs, with up to so many requests on each.
            rank, world: this process and their number.

        Raises:
            UserError: for a name that is not a training set, or weights that cannot be shares.
        """
        train = self.datasets["train"]
        self.check_mix(weights or {})
        order: dict[str, Any] = {"batch_size": batch_size, "steps": steps, "start_step": start_step}
        order |= {"seed": (self.seed, stage), "per_view": per_view, "rank": rank, "world": world}
        if self.stream is not None:
            return self._streamed(weights=weights, **order)
        mixture = Mixture(list(train.values()))
        shares = [weights.get(name, 0.0) for name in train] if weights else None
        groups = None if per_view == 1 else [self._views(name) for name in train]
        sampler = StepSampler(sizes=mixture.sizes, weights=shares, groups=groups, **order)
        return self._loader(mixture, sampler, self.train_collate)

    def eval_loader(
        self, split: str, *, name: str | None = None, limit: int | None = None, rank: int = 0, world: int = 1
    ) -> DataLoader[Batch]:
        """Every sample of a split once, in order, without responses; rank r has batches r, r + world, ...

        Batches are the same for any number of ranks, and so are the answers; requests on one picture stay together.

        Args:
            name: one data set of it; None means all, one after another.
            limit: n samples of each data set, evenly spread, for releases are often sorted by class; None means all.
            rank, world: this process and their number.

        Raises:
            UserError: for a split without data, or an unknown name.
        """
        require_known("split", split, known=self.datasets)
        chosen = self.datasets[split]
        if name is not None:
            require_known(f"data set of split {split!r}", name, known=chosen)
            chosen = {name: chosen[name]}
        if not chosen:
            raise UserError(f"no data set for split {split!r}: give one, or leave the split out of the evaluation")
        mixture = Mixture(list(chosen.values()))
        return self._loader(mixture, self._batches(mixture, limit)[rank::world], self.eval_collate)

    def check_mix(self, mix: Mapping[str, float]) -> None:
        """`UserError` for a name that is not a training set."""
        require_known("training data set", *mix, known=self.datasets["train"])

    def stage(self, stage: Stage, index: int, *, validated: int | None = None) -> None:
        """Sets the stage that `train_dataloader` and `val_dataloader` serve.

        Args:
            validated: samples of each validation set, evenly spread; None for all.
        """
        self._stage, self._validated = (stage, index), validated

    def train_dataloader(self) -> DataLoader[Batch]:
        """Lightning's hook: `train_loader` of the current stage for this rank, from the trainer's step on."""
        if self._stage is None or self.trainer is None:
            raise RuntimeError("set a stage before the trainer asks for its batches")
        stage, index = self._stage
        world = self.trainer.world_size  # `run_stages` sees to it that draws can be shared
        every = self.trainer.accumulate_grad_batches  # batches of a step: they follow each other in the one sequence
        return self.train_loader(
            batch_size=stage.batch_size // world,
            steps=stage.steps * every,
            start_step=self.trainer.global_step * every,
            weights=stage.mix,
            per_view=stage.requests_per_view,
            stage=index,
            rank=self.trainer.global_rank,
            world=world,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Lightning's hook: samples of split "val" with their responses, those of the data sets that the stage trains
        on where any is; every rank has batches, and they are the same for any number of ranks."""
        if self._stage is None or self.trainer is None:
            raise RuntimeError("set a stage before the trainer asks for its batches")
        val, mix = self.datasets["val"], self._stage[0].mix
        mixture = Mixture([val[n] for n in val if mix.get(n)] or list(val.values()))
        batches = self._batches(mixture, self._validated)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        own = batches[rank::world] if len(batches) >= world else batches  # means stay the same: all ranks weigh alike
        return self._loader(mixture, own, self.val_collate)

    def _batches(self, mixture: Mixture, limit: int | None) -> list[list[tuple[int, int]]]:
        """Batches of evaluation: at most ``limit`` samples of each data set, evenly spread, in order."""
        starts = accumulate(mixture.sizes, initial=0)
        sets = zip(starts, mixture.sizes, strict=False)
        items = [(start + place, 0) for start, size in sets for place in spread(size, limit)]
        return [items[i : i + self.eval_batch_size] for i in range(0, len(items), self.eval_batch_size)]

    def _views(self, name: str) -> list[tuple[list[int], list[int]]]:
        """Indices of the training samples on each picture or pair, and of those with further references."""
        if name not in self._grouped:
            views: dict[Hashable, tuple[list[int], list[int]]] = {}
            dataset = self.datasets["train"][name]
            for index in range(len(dataset)):  # type: ignore[arg-type]
                sample = dataset[index]
                requests, again = views.setdefault(images_key(sample), ([], []))
                requests.append(index)
                if sample.task != "retrieval":  # two captions of one picture would be each other's negatives
                    again += [index] * (len(sample.responses) - 1)
            self._grouped[name] = list(views.values())
        return self._grouped[name]

    def _streamed(self, **options: Any) -> DataLoader[Batch]:
        train = self.datasets["train"]
        shards = {name: data.shards for name, data in train.items() if isinstance(data, ShardDataset)}
        if len(shards) < len(train):
            plain = ", ".join(name for name in train if name not in shards)
            raise UserError(
                f"loader.stream reads shards, and {plain} is none. Write it first: "
                "python -m rsmoe.commands.shard data=... out=..., and name it with data=shards"
            )
        stream = Stream(shards=shards, **options, **(self.stream or {}))
        return DataLoader(
            stream,  # type: ignore[arg-type]  # Collate turns its items into batches
            batch_size=None,
            collate_fn=self.train_collate,
            num_workers=self.workers,
        )

    def _loader(self, mixture: Mixture, batches: Any, collate: Collate) -> DataLoader[Batch]:
        return DataLoader(
            mixture,  # type: ignore[arg-type]  # Collate turns its items into batches
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

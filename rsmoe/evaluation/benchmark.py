"""A benchmark: data, split, request, decoding and protocol under one name, as its yaml joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from rsmoe.data.corpus import rooted
from rsmoe.data.readers.annotations import data_root
from rsmoe.data.readers.recast import Recast
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
from rsmoe.data.tasks import find_task
from rsmoe.errors import UserError, require_known
from rsmoe.model import RSMoE
from rsmoe.parts import instantiate

_KEYS = (
    "reader", "split", "train", "train_reader", "as", "prompt", "response", "synonyms", "protocols", "vocabulary",
    "beams", "max_new",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One yaml of ``conf/benchmark``, with its readers opened."""

    name: str
    data: Dataset[Sample]
    train: Dataset[Sample] | None
    """What the trivial baselines learn from; None where there is nothing to learn from."""
    beams: int
    max_new: int
    """Of decoding: beams of the search, and the most tokens of an answer."""
    protocols: Mapping[str, str] = field(default_factory=dict)
    """Task -> protocol id, where it is not the task's default."""
    vocabulary: Path | None = None
    """The file {word: id} of protocols on word ids; read where one of them is used."""

    @property
    def data_name(self) -> str:
        """Of the release."""
        return str(getattr(self.data, "name", self.name))

    @classmethod
    def from_config(cls, name: str, node: Mapping[str, Any], *, root: str | None) -> Benchmark:
        """Opens the readers of a benchmark yaml.

        Args:
            node: ``reader`` (a yaml of ``conf/data``), ``split``, ``train`` (a split for the baselines, or null),
                ``train_reader`` (where that split is of another release), ``as`` (another task for the same samples),
                ``prompt``, ``response`` and ``synonyms`` (see `Recast`), ``protocols``, ``vocabulary`` (a file, in the
                folder of the release where its path is relative), ``beams``, ``max_new``.
            root: the folder of the release, or of several, each under its own name.

        Raises:
            UserError: an unknown key, no reader or split, or whatever the readers raise.
        """
        require_known(f"key of benchmark {name!r}", *node, known=_KEYS)
        if not node.get("reader") or not node.get("split"):
            raise UserError(f"benchmark {name!r} needs a reader and a split; see conf/benchmark for examples")
        asked = {"task": node.get("as")} | {key: node.get(key) for key in ("prompt", "response", "synonyms")}

        def opened(reader: Mapping[str, Any], split: str) -> Dataset[Sample]:
            data: Dataset[Sample] = instantiate({**rooted(reader, root), "split": split})
            return Recast(data, **asked) if any(asked.values()) else data

        train, words = node.get("train"), node.get("vocabulary")
        if words:
            reader = node["reader"]
            words = Path(words).expanduser()
            words = (
                words if words.is_absolute() else data_root(reader.get("root") or root, reader.get("name", "")) / words
            )
        return cls(
            name=name,
            data=opened(node["reader"], node["split"]),
            train=opened(node.get("train_reader") or node["reader"], train) if train else None,
            beams=int(node.get("beams", 3)),
            max_new=int(node.get("max_new", 80)),
            protocols=dict(node.get("protocols") or {}),
            vocabulary=words or None,
        )

    def choose(self, *, limit: int | None, ids: Sequence[str] | None) -> list[Sample]:
        """The samples to be answered, in the order of the data set.

        Args:
            limit: n samples, evenly spread, see `rsmoe.data.sampling.spread`; None for all.
            ids: only these, see `Sample.id`; then ``limit`` counts among them.

        Raises:
            UserError: ids that the data set does not have (named), or a limit below 1.
        """
        if limit is not None and limit < 1:
            raise UserError(f"limit={limit}: give a number of samples from 1 on, or leave it out for all")
        size = len(self.data)  # type: ignore[arg-type]
        if ids is None:
            return [self.data[i] for i in spread(size, limit)]
        wanted = set(ids)
        found = [s for s in (self.data[i] for i in range(size)) if s.id in wanted]
        if missing := wanted - {s.id for s in found}:
            some = ", ".join(self.data[i].id for i in range(min(3, size)))
            raise UserError(
                f"{self.name} has no sample {', '.join(sorted(missing)[:5])} ({len(missing)} of {len(wanted)} ids). "
                f"Its ids are written like: {some}"
            )
        return [found[i] for i in spread(len(found), limit)]

    def require_heads(self, model: RSMoE, samples: Sequence[Sample]) -> None:
        """Refuses a model that cannot answer by construction: text needs no head, masks and embeddings do."""
        able = {task for expert in model.experts if expert.token for task in expert.tasks}
        for task in sorted({s.task for s in samples} - able):
            if not find_task(task).in_words:
                raise UserError(
                    f"{self.name} asks for {task}, and this model has no expert for it (its experts: "
                    f"{', '.join(model.names)}). Train one with expert=[...,{task}]"
                )

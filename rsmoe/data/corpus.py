"""The data sets of a run, by split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text
from torch.utils.data import Dataset

from rsmoe.data.readers.reader import left_out
from rsmoe.data.readers.recast import Recast
from rsmoe.data.sample import Sample
from rsmoe.data.transforms.regions import pointed
from rsmoe.errors import UserError, require_known
from rsmoe.parts import instantiate

SPLITS = ("train", "val", "test")
"""Names of the splits of a corpus."""
SEARCHED = 100
"""Samples of a data set that are looked at for the names of its classes."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Named data sets of each split; the names are those of the corpus yaml."""

    train: dict[str, Dataset[Sample]]
    val: dict[str, Dataset[Sample]]
    test: dict[str, Dataset[Sample]]

    def training_samples(self, most: int | None = None) -> Iterator[Sample]:
        """The first ``most`` samples of each training set; None for all."""
        for data in self.train.values():
            size: int = len(data)  # type: ignore[arg-type]
            yield from (data[i] for i in range(size if most is None else min(most, size)))

    def texts(self) -> Iterator[str]:
        """Every instruction and response of the training split, for a tokenizer to be fitted on."""
        for sample in map(pointed, self.training_samples()):
            yield sample.instruction
            yield from sample.responses
            for question, answer in sample.history:
                yield f"q: {question} a: {answer}"

    def captions(self) -> Iterator[str]:
        """Every response of the training split, for the tokenizer of a text tower."""
        for sample in self.training_samples():
            yield from sample.responses

    def change_classes(self, *, kinds: int) -> list[str]:
        """Names of "no change" and of ``kinds`` of change, from the class map of a pair among the first `SEARCHED`
        training samples of a data set; [] where none has so many."""
        samples = self.training_samples(SEARCHED)
        named = (s.classes for s in samples if len(s.images) == 2 and s.class_map is not None)
        return next((list(classes) for classes in named if len(classes) == 1 + kinds), [])

    def has_dialogues(self) -> bool:
        """Whether a request has earlier turns, among the first `SEARCHED` training samples of each data set."""
        return any(sample.history for sample in self.training_samples(SEARCHED))

    def check_change(self) -> None:
        """Nothing, where pairs, among the first `SEARCHED` training samples of each data set, have class maps.

        Raises:
            UserError: none has.
        """
        if not any(len(s.images) == 2 and s.class_map is not None for s in self.training_samples(SEARCHED)):
            raise UserError(
                "maps=[change] is taught by class maps of pairs, and the training data has none. "
                "Type maps=[] 'stage=[dense,experts]', or choose a corpus that has masks of change"
            )

    def check_land_cover(self, names: Sequence[str]) -> None:
        """Nothing, where class maps of single pictures, among the first `SEARCHED` training samples of each data set,
        are of these classes.

        Raises:
            UserError: there is none, or one of other classes.
        """
        samples = self.training_samples(SEARCHED)
        found = {s.classes: s.source for s in samples if len(s.images) == 1 and s.class_map is not None}
        if not found:
            raise UserError(
                "maps=[land_cover] is taught by class maps of single pictures, and the training data has none. "
                "Type maps=[] noun_grounding=false 'stage=[dense,experts]', or give maps, "
                "corpus.<name>.reader.class_maps=<folder>"
            )
        for classes, source in found.items():
            if classes != tuple(names):
                raise UserError(
                    f"the class maps of {source!r} have the classes {', '.join(classes)}; maps.land_cover.classes are "
                    f"{', '.join(names)}. Give the first: maps.land_cover.classes=[...]"
                )


def build_corpus(config: Mapping[str, Any], *, root: str | None, generated: bool, console: Console) -> Corpus:
    """Builds the readers of a corpus yaml.

    Args:
        config: name -> {reader: yaml of `conf/data`, splits: {train: <its split>, test: ...}, generated: ..., as: a
            task, prompt: a request, or a list of which training takes all and the other splits the first}; ``as`` and
            ``prompt`` go before the reader's own, see `Recast`.
        root: ``data.root``: the folder of the only data set, or one that holds each set under its own name.
        generated: the entries' ``generated`` stand-ins are built, see `rsmoe.world.is_generated`; it is said aloud.

    Raises:
        UserError: no training split, an unknown split, or whatever the readers raise.
    """
    entries = {name: dict(entry) for name, entry in config.items()}
    parts: dict[str, dict[str, Dataset[Sample]]] = {split: {} for split in SPLITS}
    for name, entry in entries.items():
        reader = dict(entry["generated"] if generated else entry.get("reader", {}))
        if not reader:  # exists in the generated world only
            continue
        reader = rooted(reader, root)
        for split, theirs in entry["splits"].items():
            require_known(f"split in corpus.{name}.splits", split, known=SPLITS)
            data = instantiate({**reader, **entry.get(split, {}), "split": theirs})
            if "as" in entry or "prompt" in entry:
                prompt = entry.get("prompt")
                first = prompt[:1] if isinstance(prompt, list) and split != "train" else prompt
                data = Recast(data, task=entry.get("as"), prompt=first)
            if split != "train" and not len(data):  # one's own data need not have it
                continue
            if unused := left_out(data):
                console.print(f"{name}, split {split}, left out: {unused}", markup=False, highlight=False)
            parts[split][name] = data
    if not parts["train"]:
        raise UserError("the corpus has no training split: give corpus.<name>.splits.train")
    if any(getattr(d, "protocol", "") for split in parts.values() for d in split.values()):
        told = "GENERATED SCENES, NOT REAL DATA: every number carries protocol generated/..."
        console.rule(Text(told, style="bold red"))
    return Corpus(train=parts["train"], val=parts["val"], test=parts["test"])


def rooted(reader: Mapping[str, Any], root: str | None) -> dict[str, Any]:
    """The config of a reader that has no root of its own, with ``root``: that of one release, or of several by name;
    a reader whose yaml has no ``name:`` takes it as it is."""
    if root is None or "root" not in reader or reader["root"] is not None:
        return dict(reader)
    own = Path(root) / str(reader.get("name", ""))
    return {**reader, "root": str(own if own.is_dir() else root)}


def absent_from(corpus: Corpus, config: Mapping[str, Any]) -> set[str]:
    """Training sets of a corpus yaml that exist in the other world only: with real data alone, or generated alone."""
    one_sided = {name for name, entry in config.items() if entry.get("generated") == {} or not entry.get("reader")}
    return one_sided - set(corpus.train)

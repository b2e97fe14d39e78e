"""A trained model on benchmarks: answers on every rank, numbers and a report on the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader

from rsmoe.data.batch import Batch
from rsmoe.data.collate import Collate
from rsmoe.data.readers.reader import left_out
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.dataset_mixture import Mixture
from rsmoe.data.sampling.spread import spread
from rsmoe.data.text_codec import TextCodec
from rsmoe.device import pick_device
from rsmoe.errors import UserError
from rsmoe.evaluation.answer_job import AnswerJob
from rsmoe.evaluation.benchmark import Benchmark
from rsmoe.evaluation.benchmark_report import write_benchmark
from rsmoe.evaluation.evaluate_splits import answers, assess
from rsmoe.evaluation.formats.layouts import read_vocabulary
from rsmoe.evaluation.known import Knowledge, Known, informed, known_of, with_sources
from rsmoe.evaluation.neighbours import image_features
from rsmoe.evaluation.open_run import collate_options
from rsmoe.evaluation.report import baselines
from rsmoe.evaluation.run_facts import run_facts
from rsmoe.metrics.added import added_metrics
from rsmoe.metrics.metric import Metric, Vocabulary
from rsmoe.metrics.scoring import check_protocols, metric_of
from rsmoe.model import RSMoE


def open_ranks(*, device: str = "auto", accelerator: str = "auto", devices: int | str, num_nodes: int) -> Fabric:
    """The processes of this evaluation, started or, under torchrun or SLURM, found; they only wait for each other.

    A rank waits for the slowest one as long as that takes, which is hours on large benchmarks.

    Args:
        device: see `rsmoe.device.pick_device`; one with a number is for a single rank.
        accelerator: kind of the devices, for those who know Lightning; "auto" is that of ``device``.
        devices, num_nodes: of Lightning's Fabric.

    Raises:
        UserError: no such device, or ``device`` and the others contradict each other.
    """
    kind = {"gpu": "cuda"}.get(str(accelerator), str(accelerator))
    place = pick_device(kind if device == "auto" and kind != "auto" else device)
    if kind not in ("auto", place.type):
        raise UserError(f"device={device} and ranks.accelerator={accelerator} contradict each other: leave one on auto")
    if place.index is not None:
        if devices != 1:
            raise UserError(f"device={device} is one device, ranks.devices={devices} asks for others: device=cuda")
        devices = [place.index]  # type: ignore[assignment]
    accelerator = place.type
    alone = devices in (1, [place.index]) and num_nodes == 1
    strategy = "auto" if alone else DDPStrategy(process_group_backend="gloo", timeout=timedelta(days=14))
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, strategy=strategy)
    fabric.launch()
    return fabric


class BenchmarkRun:
    """One checkpoint, ready to be asked.

    Args:
        model, codec, instruction_codec: of `rsmoe.build.load_run`.
        start_method: of the run, see `run_facts`.
        checkpoint, checkpoint_sha256: where it is, and its content.
        beams, max_new: in place of the benchmark's; None keeps those.
        limit, sample_ids: see `Benchmark.choose`.
        neighbours: most training samples for the trivial baselines; None for all.
        pictures: samples on each contact sheet of the report; 0 draws none, and the report names its samples alone.
        metrics: name -> config of a metric beside those of the tasks.
        knowledge: whose notes on the (last) picture stand before every question.
    """

    def __init__(
        self,
        *,
        model: RSMoE,
        codec: TextCodec,
        instruction_codec: TextCodec,
        config: Mapping[str, Any],
        start_method: str,
        checkpoint: Path,
        checkpoint_sha256: str,
        console: Console,
        beams: int | None = None,
        max_new: int | None = None,
        batch_size: int = 32,
        workers: int = 0,
        limit: int | None = None,
        sample_ids: Sequence[str] | None = None,
        neighbours: int | None = 20_000,
        draws: int = 1000,
        pictures: int = 6,
        metrics: Mapping[str, Mapping[str, Any]] | None = None,
        knowledge: Knowledge | None = None,
    ) -> None:
        self._knowledge = knowledge
        self.model, self.codec, self.config, self.console = model, codec, config, console
        self._start_method = start_method
        self.checkpoint, self.checkpoint_sha256 = checkpoint, checkpoint_sha256
        self._beams, self._max_new, self._batch_size, self._workers = beams, max_new, batch_size, workers
        self._limit, self._ids, self._neighbours, self._draws = limit, sample_ids, neighbours, draws
        self._metrics, self._added, self._pictures = metrics, added_metrics(metrics), pictures
        self._pixels = collate_options(config)
        self._collate = Collate(codec=codec, instruction_codec=instruction_codec, **self._pixels, inference=True)

    def __call__(self, benchmark: Benchmark, folder: Path, ranks: Fabric) -> None:
        """Answers what is not answered yet, then scores; the results of a part are in ``<folder>/partial``."""
        samples = self._samples(benchmark)
        job = self._job(benchmark, folder, rank=ranks.global_rank, world=ranks.world_size)
        batches = job.batches(samples, self._batch_size)
        told, known = self._told(samples, [i for batch in batches for i in batch], silent=bool(ranks.global_rank))
        loader: DataLoader[Batch] = DataLoader(
            Mixture([told]),  # type: ignore[arg-type,list-item]  # a list has all that a data set needs
            batch_sampler=[[(i, 0) for i in batch] for batch in batches],
            collate_fn=self._collate,
            num_workers=self._workers,
        )
        if not ranks.global_rank and (unused := left_out(benchmark.data)):
            text = f"{benchmark.data_name}, split {benchmark.data.split}, left out: {unused}"  # type: ignore[attr-defined]
            self.console.print(text, markup=False, highlight=False)
        title = "" if ranks.global_rank else f"{benchmark.name}, {sum(map(len, batches))} to answer"
        given = answers(self.model, self.codec, loader, **self._decoding(benchmark), title=title)
        for batch, predictions in zip(batches, given, strict=True):
            answered = [with_sources(p, known[i]) if known else p for i, p in zip(batch, predictions, strict=True)]
            job.append(answered, [samples[i] for i in batch])
        ranks.barrier()
        if ranks.global_rank == 0:
            self._report(benchmark, folder, samples, job)

    def _told(
        self, samples: list[Sample], asked: Sequence[int], *, silent: bool
    ) -> tuple[list[Sample], dict[int, Known]]:
        """The samples, those that are asked with what is known before their question; and what that is."""
        told, known = list(samples), dict[int, Known]()
        if self._knowledge is not None:
            for i in track(asked, description="looking up notes", transient=True, disable=silent):
                told[i], known[i] = informed(samples[i], known_of(self._knowledge, samples[i]), self._collate)
        return told, known

    def show(self, benchmark: Benchmark, folder: Path) -> None:
        """Says what would be asked, how it would be scored, and what is there already; asks nothing."""
        samples = self._samples(benchmark)
        first, say = samples[0], self.console.print
        kept = 0
        if (folder / "job.json").is_file():
            kept = len(samples) - sum(map(len, self._job(benchmark, folder).batches(samples, 1)))
        prompt = self._collate([(first, 0)]).prompt_ids[0]
        kinds = Counter(f"{s.task} {s.kind}".strip() for s in samples).most_common(12)
        rows = {
            "data": f"{benchmark.data_name}, split {benchmark.data.split}: {_counts(benchmark.data)}",  # type: ignore[attr-defined]
            "samples": f"{len(samples)} of {len(benchmark.data)}; {', '.join(f'{n} {kind}' for kind, n in kinds)}",  # type: ignore[arg-type]
            "requests cut": f"{self._cut(samples)} of more than {self._collate.max_prompt} tokens lose their beginning",
            "decoding": f"{self._decoding(benchmark)}, pictures of {self.config['image_size']} px",
            "protocols": "\n".join(f"{m.protocol.id}: {m.protocol.sentence}" for m in self._scored(benchmark, samples)),
            "baselines": self._learned(benchmark),
            "folder": f"{folder}; {kept} of {len(samples)} are answered",
            "first sample": f"{first.id}: {', '.join(_place(i) for i in first.images)}",
            "prompt": self.codec.decode(prompt.tolist()),
            "references": "\n".join(first.responses),
        }
        self.console.rule(benchmark.name)
        for key, text in rows.items():
            say(f"{key + ':':<14}", style="bold", end="")
            say(text, markup=False, highlight=False)

    def _report(self, benchmark: Benchmark, folder: Path, samples: list[Sample], job: AnswerJob) -> None:
        outcome = assess(
            benchmark.name, benchmark.data, samples=samples, predictions=job.predictions(samples), split="",
            model=self.model, protocols=benchmark.protocols, metrics=self._metrics, draws=self._draws,
            vocabulary=self._vocabulary(benchmark, samples),
        )  # fmt: skip
        learned = self._training_samples(benchmark)
        beside = baselines(outcome, learned, features=partial(image_features, self.model, self._collate))
        run = run_facts(self.model, self.config, start_method=self._start_method)
        run |= {"checkpoint": self.checkpoint.stem, "checkpoint_sha256": self.checkpoint_sha256}
        asked = {
            "limit": self._limit, "sample_ids": self._ids,
            "vocabulary_words": None if outcome.vocabulary is None else len(outcome.vocabulary),
            "knowledge": None if self._knowledge is None else self._knowledge.fingerprint,
            "requests_cut": self._cut(samples), "baselines": self._learned(benchmark), **self._decoding(benchmark),
        }  # fmt: skip
        write_benchmark(
            folder, benchmark, outcome, beside, run=run, asked=asked, pictures=self._pictures, console=self.console
        )

    def _training_samples(self, benchmark: Benchmark) -> list[Sample]:
        data: Any = benchmark.train or ()
        return [data[i] for i in spread(len(data), self._neighbours)]

    def _samples(self, benchmark: Benchmark) -> list[Sample]:
        """Those to be answered; every reason to refuse them is found before the first is."""
        samples = benchmark.choose(limit=self._limit, ids=self._ids)
        benchmark.require_heads(self.model, samples)
        check_protocols(benchmark.protocols, others=self._added.values())
        if twice := [i for i, n in Counter(s.id for s in samples).items() if n > 1]:
            raise UserError(f"{benchmark.name} has {len(twice)} ids more than once: {', '.join(twice[:5])}")
        self._vocabulary(benchmark, samples)
        self._require_dates(benchmark, samples)
        return samples

    def _require_dates(self, benchmark: Benchmark, samples: Sequence[Sample]) -> None:
        """Shows the model the sample with the most dates: most models compare two, and one batch may be the last."""
        most = max(samples, key=lambda s: len(s.images))
        if len(most.images) < 3:
            return
        try:
            with torch.inference_mode():
                self.model.eval().see(self._collate([(most, 0)]).to(self.model.to_lm.weight.device))
        except UserError as error:
            raise UserError(
                f"{benchmark.name}, sample {most.id}: {error}, or train a model with temporal=frames, which reads any "
                "number of dates"
            ) from error

    def _job(self, benchmark: Benchmark, folder: Path, *, rank: int = 0, world: int = 1) -> AnswerJob:
        facts = {"checkpoint_sha256": self.checkpoint_sha256, "data": benchmark.data_name, "dense": self.model.dense}
        facts |= {"router": self.config["router"]["_target_"]}
        facts |= {} if self._knowledge is None else {"knowledge": self._knowledge.fingerprint}
        return AnswerJob(folder, facts=facts | self._decoding(benchmark) | self._pixels, rank=rank, world=world)

    def _decoding(self, benchmark: Benchmark) -> dict[str, int]:
        return {"beams": self._beams or benchmark.beams, "max_new": self._max_new or benchmark.max_new}

    def _scored(self, benchmark: Benchmark, samples: Sequence[Sample]) -> list[Metric]:
        others = self._added.values()
        chosen = [metric_of(task, benchmark.protocols, others=others) for task in sorted({s.task for s in samples})]
        return [*{metric.protocol.id: metric for metric in [*chosen, *others]}.values()]

    def _vocabulary(self, benchmark: Benchmark, samples: Sequence[Sample]) -> Vocabulary:
        """Of the release, where a protocol scores words by their ids: which words have one moves the numbers."""
        asking = {m.protocol.id for m in self._scored(benchmark, samples) if m.needs_vocabulary}
        if not asking:
            return None
        if benchmark.vocabulary is None:
            raise UserError(
                f"{', '.join(sorted(asking))} scores words by their ids in the vocabulary of the release. Name "
                f"its file, a json {{word: id}}: benchmark.{benchmark.name}.vocabulary=/path/to/vocab.json"
            )
        return read_vocabulary(benchmark.vocabulary)

    def _cut(self, samples: Sequence[Sample]) -> int:
        return sum(len(self.codec.encode(s.instruction)) > self._collate.max_prompt for s in samples)

    def _learned(self, benchmark: Benchmark) -> str:
        if benchmark.train is None:
            return "No trivial baseline learns from training samples: this benchmark has none."
        size = len(benchmark.train)  # type: ignore[arg-type]
        used = size if self._neighbours is None else min(size, self._neighbours)
        name, split = getattr(benchmark.train, "name", benchmark.name), getattr(benchmark.train, "split", "train")
        return f"The trivial baselines learn from {used} of {size} samples of {name}, split {split}."


def _place(image: Any) -> str:
    return str(image) if isinstance(image, Path) else getattr(image, "key", f"an array {getattr(image, 'shape', '')}")


def _counts(data: Any) -> str:
    """What the reader read, what the release states, and what could not be used."""
    parts = [", ".join(f"{n} {what}" for what, n in getattr(data, "counts", {}).items()) or "not counted"]
    if stated := getattr(data, "official", {}).get(getattr(data, "split", "")):
        parts.append("the release states " + ", ".join(f"{n} {what}" for what, n in stated.items()))
    if unused := left_out(data):
        parts.append(f"left out: {unused}")
    return "; ".join(parts)

"""A dual encoder on benchmarks of retrieval and of zero-shot classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from rsmoe.contrast.open_dual import OpenDual
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task
from rsmoe.errors import UserError
from rsmoe.evaluation.benchmark import Benchmark
from rsmoe.evaluation.benchmark_report import write_benchmark
from rsmoe.evaluation.evaluate_splits import assess
from rsmoe.evaluation.report import baselines
from rsmoe.evaluation.run_facts import hash_of
from rsmoe.files import sha256_of_file
from rsmoe.metrics.added import added_metrics
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.result import Result
from rsmoe.metrics.scoring import check_protocols

_TEXTS = 256
"""Texts of a forward pass."""


def measure(
    opened: OpenDual,
    benchmark: Benchmark,
    folder: Path,
    *,
    console: Console,
    limit: int | None = None,
    sample_ids: Sequence[str] | None = None,
    batch_size: int = 32,
    draws: int = 1000,
    pictures: int = 6,
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
) -> Sequence[Result]:
    """Embeds what a benchmark holds, scores it, prints a table and writes the report of `rsmoe.evaluate`.

    Args:
        folder: of the report; of a part of the samples ``<folder>/partial``.

    Raises:
        UserError: the benchmark asks for something else than embeddings.
    """
    samples = _samples(benchmark, limit=limit, ids=sample_ids)
    check_protocols(benchmark.protocols, others=added_metrics(metrics).values())
    outcome = assess(
        benchmark.name, benchmark.data, samples=samples, split="", model=None, protocols=benchmark.protocols,
        predictions=embed_samples(opened, samples, batch_size=batch_size, title=benchmark.name), metrics=metrics,
        draws=draws,
    )  # fmt: skip
    asked = {
        "limit": limit, "sample_ids": None if sample_ids is None else list(sample_ids),
        "decoding": "embeddings, nothing is decoded",
        "baselines": "No trivial baseline learns from training samples; the chance level stands beside.",
    }  # fmt: skip
    write_benchmark(
        folder, benchmark, outcome, baselines(outcome), run=dual_facts(opened), asked=asked, pictures=pictures,
        console=console,
    )  # fmt: skip
    return outcome.results


def show(
    benchmark: Benchmark, folder: Path, *, console: Console, limit: int | None, sample_ids: Sequence[str] | None
) -> None:
    """Says what would be embedded; embeds nothing."""
    samples = _samples(benchmark, limit=limit, ids=sample_ids)
    texts = len({text for sample in samples for text in sample.responses})
    console.rule(benchmark.name)
    console.print(
        f"{len(samples)} of {len(benchmark.data)} samples, {texts} different texts, for example: "  # type: ignore[arg-type]
        f"{samples[0].responses[0]}\nfolder: {folder}",
        markup=False, highlight=False,
    )  # fmt: skip


def _samples(benchmark: Benchmark, *, limit: int | None, ids: Sequence[str] | None) -> list[Sample]:
    samples = benchmark.choose(limit=limit, ids=ids)
    for task in sorted({s.task for s in samples}):
        if find_task(task).answer != "embedding":
            raise UserError(
                f"{benchmark.name} asks for {task}, and a dual encoder embeds pictures and texts, no more. Give "
                "benchmarks of retrieval: ucm_retrieval, rsicd_retrieval, uc_merced_zero_shot ..."
            )
    return samples


@torch.inference_mode()
def embed_samples(
    opened: OpenDual, samples: Sequence[Sample], *, batch_size: int = 32, title: str = ""
) -> list[Prediction]:
    """Embeddings of pictures and of their references; a text, or a list of them, that comes again is embedded once.

    ``Prediction.text`` is the nearest of all texts, for people; no number is made of it.
    """
    texts = list(dict.fromkeys(text for sample in samples for text in sample.responses))
    rows = []
    for start in range(0, len(texts), _TEXTS):
        ids, mask = opened.tokens(texts[start : start + _TEXTS])
        rows.append(opened.model.embed_texts(ids.to(opened.device), mask.to(opened.device)).cpu().numpy())
    table, place = np.concatenate(rows), {text: i for i, text in enumerate(texts)}
    shared: dict[tuple[str, ...], np.ndarray] = {}  # of zero-shot classes every sample has the same
    predictions = []
    starts = range(0, len(samples), batch_size)
    for start in track(starts, description=title, transient=True, disable=not title):
        own = samples[start : start + batch_size]
        batch = opened.collate([(sample, 0) for sample in own])
        if batch.pixels.shape[1] > 1:
            raise UserError(f"{title}: a dual encoder reads one picture, and there are samples of several dates")
        images = opened.model.embed_images(batch.pixels[:, 0].to(opened.device)).cpu()[batch.view].numpy()
        for sample, image in zip(own, images, strict=True):
            if sample.responses not in shared:
                shared[sample.responses] = table[[place[text] for text in sample.responses]]
            predictions.append(
                Prediction(
                    id=sample.id, task=sample.task, kind=sample.kind, text=texts[int((table @ image).argmax())],
                    image_embedding=image, text_embeddings=shared[sample.responses],
                )
            )  # fmt: skip
    return predictions


def dual_facts(opened: OpenDual) -> dict[str, Any]:
    """What ``metrics.json`` says of a dual encoder, by the keys of `rsmoe.evaluation.report.run_facts`."""
    config = {**opened.facts["config"], "resume": None}
    model: Any = opened.model
    return {
        "name": opened.facts["name"],
        "seed": opened.facts["seed"],
        "torch": torch.__version__,
        "router": {"name": "none", "told_the_task": False},
        "parameters": sum(p.numel() for p in model.parameters()),
        "config_sha256": hash_of(config),
        "method_sha256": hash_of({**config, "seed": None, "data": None}),
        "checkpoint": opened.path.stem,
        "checkpoint_sha256": sha256_of_file(opened.path),
    }

"""What a run leaves behind: metrics.json, predictions.jsonl, router.png, samples.png, and a table on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from torch import Tensor

from rsmoe.data.boxes import box_corners, parse
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.rasters.polygons import fill_polygon
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task
from rsmoe.evaluation.baselines import Baselines
from rsmoe.evaluation.constant_answers import resize_mask
from rsmoe.evaluation.evaluate_splits import Outcome
from rsmoe.evaluation.run_facts import run_facts
from rsmoe.evaluation.table import results_table
from rsmoe.figures.router_history import RouterHistory
from rsmoe.figures.router_plot import plot_router
from rsmoe.figures.sample_card import SampleCard
from rsmoe.figures.samples_plot import plot_samples
from rsmoe.files import write_text
from rsmoe.metrics.answers.normalise import normalise
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.result import Result
from rsmoe.metrics.scoring import metric_of
from rsmoe.model import RSMoE
from rsmoe.router.oracle import TOLD
from rsmoe.settings.stage import Stage

_ROWS = 14
"""Of the router's heat map, at most."""


def write_report(
    folder: Path,
    outcomes: Sequence[Outcome],
    beside: Sequence[Mapping[str, list[Result]]],
    *,
    model: RSMoE,
    trace: Sequence[Mapping[str, Any]],
    stages: Sequence[Stage],
    minutes: float,
    cpu_minutes: float,
    processes: int,
    config: Mapping[str, Any],
    start_method: str,
    console: Console,
) -> None:
    """Writes everything into the run folder, each file whole or not at all, and prints the table.

    Args:
        trace: the router's, of `rsmoe.training.run.run_stages`.
        minutes: wall-clock time of training; cpu_minutes: processor time of all processes, which says
            more on a shared machine.
        start_method: see `run_facts`.
    """
    rows: dict[str, Any] = {
        "run": run_facts(model, config, start_method=start_method)
        | {"processes": processes, "minutes": round(minutes, 2), "cpu_minutes": round(cpu_minutes, 2)},
        "results": [],
        "baselines": {},
    }
    lines = []
    for outcome, trivial in zip(outcomes, beside, strict=True):
        console.print(
            results_table(outcome.results, trivial, title=f"{config['name']}: {outcome.data} ({outcome.split})")
        )
        rows["results"] += result_rows(outcome, outcome.results, rows["run"])
        for name, results in trivial.items():
            rows["baselines"].setdefault(name, [])
            rows["baselines"][name] += result_rows(outcome, results, rows["run"])
        lines += prediction_rows(outcome)
    if rows["run"]["router"]["told_the_task"]:
        console.print(TOLD, style="bold red")
    write_text(folder / "metrics.json", json.dumps(rows, indent=1) + "\n")
    write_text(folder / "predictions.jsonl", "".join(lines))
    pairs = [(s, p) for o in outcomes for s, p in zip(o.samples, o.predictions, strict=True)]
    if pairs:
        names, matrix = routing_matrix(pairs)
        load = np.mean([p.weights for _, p in pairs], axis=0)
        history = router_history(trace, stages)
        plot_router(
            folder / "router.png",
            matrix=matrix,
            task_names=names,
            expert_names=model.names,
            load=load.tolist(),
            history=history,
        )
        plot_samples(folder / "samples.png", [card(s, p) for s, p in choose(pairs, 12)])
    console.print(
        f"training took {minutes:.1f} min ({cpu_minutes:.1f} of processor time); everything is in {folder}",
        markup=False,
    )


def baselines(
    outcome: Outcome, train: Sequence[Sample] = (), *, features: Callable[[Sequence[Sample]], Tensor] | None = None
) -> dict[str, list[Result]]:
    """Majority, text-only and nearest-neighbour results on the same samples, fitted on training samples.

    Args:
        train: training samples. A task that has none among them gets no baseline, but for a chance level.
        features: of the pictures of samples, (n, D), that neighbours are looked up in; None: no nearest neighbour.
    """
    asked = {s.task for s in outcome.samples}
    train = [s for s in train if s.task in asked and find_task(s.task).baseline is not None]
    learned, others = {s.task for s in train}, outcome.metrics.values()
    chance = {task for task in asked if metric_of(task, outcome.protocols, others=others).chance}
    test = [s for s in outcome.samples if s.task in learned | chance]
    if not test:
        return {}
    first, known = outcome.results[0], {}
    if learned and features is not None:
        known = {"train_features": features(train), "test_features": features(test)}
    return Baselines(train).results(
        test,
        protocol_prefix="generated/" if first.protocol.startswith("generated/") else "",
        split=first.split,
        protocols=outcome.protocols,
        metrics=outcome.metrics,
        vocabulary=outcome.vocabulary,
        **known,
    )


def result_rows(outcome: Outcome, results: Sequence[Result], run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Results as rows of ``metrics.json``, each with what it was measured on and by which run."""
    known = {"data": outcome.data, "data_sha256": outcome.sha256[:16]}
    known |= {key: run[key] for key in ("config_sha256", "seed")}
    return [known | r.as_dict() for r in results]


def prediction_rows(outcome: Outcome) -> list[str]:
    """Lines of ``predictions.jsonl``: what was asked, what was answered, the references."""
    lines = []
    for sample, prediction in zip(outcome.samples, outcome.predictions, strict=True):
        asked = {"data": outcome.data, "instruction": sample.instruction, "references": list(sample.responses)}
        lines.append(json.dumps(prediction.as_dict() | asked, ensure_ascii=False) + "\n")
    return lines


def routing_matrix(pairs: Sequence[tuple[Sample, Prediction]]) -> tuple[list[str], np.ndarray]:
    """Mean router weights (kinds, E) by task, questions also by type; the `_ROWS` most frequent rows."""
    groups: dict[str, list[tuple[float, ...]]] = {}
    for sample, prediction in pairs:
        name = sample.task.replace("_", " ")
        label = f"{name}: {sample.kind}" if sample.kind and _question_types(sample) else name
        groups.setdefault(label, []).append(prediction.weights)
    names = sorted(sorted(groups, key=lambda k: -len(groups[k]))[:_ROWS])
    return names, np.array([np.mean(groups[n], axis=0) for n in names])


def router_history(trace: Sequence[Mapping[str, Any]], stages: Sequence[Stage]) -> RouterHistory | None:
    """The trace with steps counted over all stages; None where no stage had a router."""
    if not trace:
        return None
    starts = np.cumsum([0, *(s.steps for s in stages)])
    return RouterHistory(
        step=[float(starts[t["stage"]] + t["step"]) for t in trace],
        entropy=[t["entropy"] for t in trace],
        accuracy=[t["accuracy"] for t in trace],
        load=[t["load"] for t in trace],
        stages=[(float(start), stage.name) for start, stage in zip(starts, stages, strict=False)],
    )


def choose(pairs: Sequence[tuple[Sample, Prediction]], count: int) -> list[tuple[Sample, Prediction]]:
    """Pairs for the contact sheet: tasks and question types in turn, evenly spread, never picked by their score."""
    groups: dict[tuple[str, str], list[tuple[Sample, Prediction]]] = {}
    for pair in pairs:
        groups.setdefault((pair[0].task, pair[0].kind if _question_types(pair[0]) else ""), []).append(pair)
    tasks: dict[str, list[list[tuple[Sample, Prediction]]]] = {}
    for (task, _), group in sorted(groups.items()):
        tasks.setdefault(task, []).append(group)
    chosen: list[tuple[Sample, Prediction]] = []
    for turn in range(count):
        for kinds in tasks.values():
            group = kinds[turn % len(kinds)]
            place = (2 * (turn // len(kinds)) + 1) * len(group) // (2 * count)
            new = all(group[place] is not pair for pair in chosen)  # two data sets may have one id
            if len(chosen) < min(count, len(pairs)) and new:
                chosen.append(group[place])
    return sorted(chosen, key=lambda pair: (pair[0].task, pair[0].kind))


def _question_types(sample: Sample) -> bool:
    return find_task(sample.task).typed and find_task(sample.task).in_words


def card(sample: Sample, prediction: Prediction) -> SampleCard:
    """One cell of the contact sheet; boxes are shown as what they cover."""
    images = [load_image(i) for i in sample.images]
    shape = images[-1].shape[:2]
    mask, reference = prediction.mask, None if sample.mask is None else read_array(sample.mask)
    if find_task(sample.task).answer == "boxes" and "box_convention" in sample.meta:
        mask, reference = covered(prediction.text, sample, shape), covered(sample.responses[0], sample, shape)
    right = {normalise(r) for r in sample.responses}
    return SampleCard(
        images=images,
        instruction=sample.instruction,
        reference=sample.responses[0],
        prediction=prediction.text,
        correct=normalise(prediction.text) in right if find_task(sample.task).closed else None,
        mask=None if mask is None else resize_mask(mask, shape),
        reference_mask=None if reference is None else resize_mask(reference, shape),
        router=dict(zip(prediction.experts, prediction.weights, strict=True)),
    )


def covered(text: str, sample: Sample, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool: the pixels in the boxes of an answer in words."""
    boxes = parse(text, convention=sample.meta["box_convention"], size_px=sample.meta["size_px"]).boxes
    mask = np.zeros(shape, dtype=bool)
    for box in boxes:
        fill_polygon(mask, box_corners(box))
    return mask
